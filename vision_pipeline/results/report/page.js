"use strict";
(() => {
  const AT_ONCE = 48, MOST_VALUES = 60, ON_CARD = 8;
  const $ = (id) => document.getElementById(id);
  const { fields, prompt } = JSON.parse($("columns").textContent);
  const items = Array.from(document.querySelectorAll("script.item"), (data, place) => {
    const item = JSON.parse(data.textContent);
    item.place = place;
    item.number = data.dataset.number;
    return item;
  });

  // Marks that turn text around are shown by name, and each text stands apart from its surroundings.
  const HIDDEN = /[\u202a-\u202e\u2066-\u2069\u200e\u200f\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;
  const visible = (text) => String(text).replace(HIDDEN, (mark) =>
    "\u27e8U+" + mark.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "\u27e9");
  const make = (tag, name, ...inside) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...inside);
    return made;
  };
  const said = (value) => {
    const text = make("bdi");
    text.dir = "auto";
    text.textContent = visible(value);
    return text;
  };
  const plain = (value) =>
    value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 6, useGrouping: false });
  const brief = (value) => {
    if (value === null || typeof value !== "object") return value === null ? "–" : typeof value === "number" ? number.format(value) : String(value);
    if (Array.isArray(value)) return `[${value.map(brief).join(", ")}]`;
    return Object.entries(value).map(([name, each]) => `${name} ${brief(each)}`).join(" · ");
  };
  const cell = (value) => {
    if (value === null || value === undefined || value === "") return make("span", "nil", "–");
    if (typeof value === "number") return said(number.format(value));
    if (Array.isArray(value)) return said(value.map(brief).join(value.some((each) => typeof each === "object") ? "\n" : ", ") || "–");
    if (typeof value === "object") return said(brief(value));
    return said(value);
  };

  // What can be sorted and filtered by: the answer's fields, the manifest's columns, the origin.
  const about = (name, kind, title) => ({ name: title || name.replaceAll("_", " "), kind, of: (item) => item.about[name] });
  const columns = [
    ...fields.map((field, at) => ({ ...field, of: (item) => item.values[at] })),
    about("cost_usd", "number"), about("latency_s", "number"), about("completion_tokens", "number"),
    about("image_bytes", "number"), about("image_width_px", "number"), about("image_height_px", "number"),
    about("image_format", "text"), about("image_note", "text"), about("attempts", "number"),
    about("repaired", "flag"), about("from_ledger", "flag"), about("answered_at", "time"),
    about("model", "text"), about("prompt", "text"), about("run_id", "text", "run"),
  ].filter((column) => items.some((item) => ![null, undefined, ""].includes(column.of(item))));

  const state = { text: "", status: "all", code: "", field: -1, value: null, least: null, most: null, sort: -1, down: false };
  let found = items, drawn = 0, open = -1;

  const option = (value, text) => {
    const made = make("option", "", visible(text));
    made.value = value;
    return made;
  };
  const counted = (of, list) => {
    const counts = new Map();
    for (const item of list) counts.set(of(item), (counts.get(of(item)) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]);
  };
  const haystack = (item) => item.hay ??= [item.id, item.code, item.detail, ...item.values, item.reply].map(plain).join("\n").toLowerCase();

  function fits(item) {
    if (state.status !== "all" && item.ok !== (state.status === "ok")) return false;
    if (state.code && item.code !== state.code) return false;
    if (state.field >= 0) {
      const value = columns[state.field].of(item);
      if (state.value !== null && plain(value) !== state.value) return false;
      if (state.least !== null && !(value >= state.least)) return false;
      if (state.most !== null && !(value <= state.most)) return false;
    }
    return state.text.toLowerCase().split(/\s+/).every((word) => haystack(item).includes(word));
  }

  function compare(a, b) {
    if (a === b) return 0;
    return typeof a === "number" && typeof b === "number" ? a - b : plain(a).localeCompare(plain(b), undefined, { numeric: true });
  }

  function apply() {
    found = items.filter(fits);
    const of = state.sort === -2 ? (item) => item.id : state.sort >= 0 ? columns[state.sort].of : (item) => item.place;
    const isNil = (value) => value === null || value === undefined || value === "";
    found.sort((a, b) => {
      const one = of(a), other = of(b);
      if (isNil(one) || isNil(other)) return isNil(one) - isNil(other); // last in either order
      return (state.down ? -1 : 1) * compare(one, other) || a.place - b.place;
    });
    $("count").textContent = found.length === items.length ? items.length === 1 ? "1 item" : `${items.length} items` : `${found.length} of ${items.length}`;
    $("none").hidden = found.length > 0 || items.length === 0;
    $("sheet").replaceChildren();
    drawn = 0;
    more();
  }

  function more() {
    const next = found.slice(drawn, drawn + AT_ONCE);
    $("sheet").append(...next.map(card));
    drawn += next.length;
  }

  const data = (item, at, size) => $(`${size}${item.number}-${at}`);
  function picture(item, at, size) {
    const image = item.images[at], stored = data(item, at, size);
    if (!stored) return make("div", "why", said(image.why || "no image"));
    const shown = make("img");
    shown.decoding = "async";
    shown.alt = visible(image.uri);
    shown.src = "data:image/jpeg;base64," + stored.textContent;
    return shown;
  }

  function answer(item, most) {
    const mine = fields.map((field, at) => [field, item.values[at]]).filter(([field]) => !field.given);
    const given = fields.map((field, at) => [field, item.values[at]]).filter(([field, value]) => field.given && value !== null);
    if (mine.length === 1 && given.length === 0 && typeof mine[0][1] === "string") {
      const prose = make("p", "prose", said(mine[0][1]));
      prose.dir = "auto";
      return prose;
    }
    const list = make("dl", "answer");
    const all = [...(item.ok ? mine : []), ...given];
    for (const [field, value] of all.slice(0, most)) {
      list.append(make("dt", "", said(field.name)), make("dd", "", cell(value)));
    }
    if (all.length > most) list.append(make("dt", "", ""), make("dd", "", `and ${all.length - most} more`));
    return list;
  }

  function error(item) {
    const box = make("div", "");
    if (item.ok) return box;
    box.append(make("span", "code", said(item.code || "error")), make("p", "prose", said(item.detail || item.hint || "")));
    return box;
  }

  function card(item) {
    const pictures = make("div", "pictures", ...item.images.slice(0, 4).map((_, at) => picture(item, at, "t")));
    const name = make("div", "name", said(item.id));
    name.title = visible(item.id);
    const made = make("article", "card", pictures, make("div", "body", name, error(item), answer(item, ON_CARD)));
    made.tabIndex = 0;
    made.setAttribute("role", "button");
    made.dataset.place = item.place;
    return made;
  }

  function show(at) {
    if (at < 0 || at >= found.length) return;
    open = at;
    const item = found[at];
    $("view").replaceChildren(...item.images.map((image, k) => {
      const shown = picture(item, k, "b");
      const size = item.about.image_width_px && item.images.length === 1 ? ` · ${item.about.image_width_px} × ${item.about.image_height_px} px` : "";
      const page = image.page ? `, page ${image.page}` : "";
      const figure = make("figure", "", shown, make("figcaption", "", said(image.uri), page + size));
      if (shown.tagName === "IMG") shown.addEventListener("click", () => figure.classList.toggle("actual"));
      return figure;
    }));
    $("view").classList.toggle("many", item.images.length > 1);
    $("view").scrollTo(0, 0);
    const origin = make("dl", "answer about");
    for (const [name, value] of Object.entries(item.about)) {
      origin.append(make("dt", "", name.replaceAll("_", " ")), make("dd", "", cell(value)));
    }
    const parts = [make("h2", "", said(item.id)), error(item)];
    if (!item.ok && item.hint && item.detail) parts.push(make("p", "note", said(item.hint)));
    parts.push(answer(item, Infinity));
    if (item.reply !== null) {
      const reply = make("pre", "", said(item.reply));
      reply.dir = "auto";
      parts.push(make("h3", "", "Reply as it came"), reply);
    }
    if (prompt && prompt.name === item.about.prompt && prompt.version === item.about.prompt_version) {
      const asked = make("pre", "", said([prompt.system, prompt.text].filter(Boolean).join("\n\n")));
      asked.dir = "auto";
      parts.push(make("details", "", make("summary", "", "Prompt"), asked));
    }
    parts.push(make("h3", "", "Origin"), origin);
    $("facts").replaceChildren(...parts);
    $("facts").parentElement.scrollTo(0, 0);
    $("place").textContent = `${at + 1} of ${found.length}`;
    $("before").disabled = at === 0;
    $("after").disabled = at === found.length - 1;
    if (!$("item").open) $("item").showModal();
  }

  function conditions() {
    const box = $("condition");
    box.replaceChildren();
    Object.assign(state, { value: null, least: null, most: null });
    if (state.field < 0) return;
    const column = columns[state.field];
    const values = counted((item) => plain(column.of(item)), items);
    if (column.kind === "number" && values.length > 12) {
      for (const [key, text] of [["least", "from"], ["most", "to"]]) {
        const input = make("input");
        input.type = "number";
        input.step = "any";
        input.id = key;
        input.placeholder = text;
        input.setAttribute("aria-label", `${column.name} ${text}`);
        input.addEventListener("input", () => { state[key] = input.value === "" ? null : Number(input.value); apply(); });
        box.append(input);
      }
      return;
    }
    const select = make("select");
    select.id = "value";
    select.setAttribute("aria-label", `Value of ${column.name}`);
    select.append(option("any", "any"), ...values.slice(0, MOST_VALUES).map(([value, count]) =>
      option("=" + value, `${value === "" ? "–" : value.slice(0, 60)} (${count})`)));
    select.addEventListener("change", () => { state.value = select.value === "any" ? null : select.value.slice(1); apply(); });
    box.append(select);
  }

  function setUp() {
    const errors = items.filter((item) => !item.ok);
    const choices = [["all", `All ${items.length}`], ["ok", `Answered ${items.length - errors.length}`], ["error", `Errors ${errors.length}`]];
    for (const [value, text] of choices) {
      const button = make("button", "", text);
      button.type = "button";
      button.dataset.value = value;
      button.setAttribute("aria-pressed", String(value === "all"));
      button.addEventListener("click", () => { choose(value); apply(); });
      $("status").append(button);
    }
    const codes = counted((item) => item.code, errors);
    $("code").append(option("", "any"), ...codes.map(([code, count]) => option(code, `${code} (${count})`)));
    $("fields").hidden = columns.length === 0;
    $("field").append(option("-1", "any field"), ...columns.map((column, at) => option(at, column.name)));
    $("sort").append(option("-1", "as listed"), option("-2", "name"), ...columns.map((column, at) => option(at, column.name)));
    $("code").addEventListener("change", () => { state.code = $("code").value; apply(); });
    $("field").addEventListener("change", () => { state.field = Number($("field").value); conditions(); apply(); });
    $("sort").addEventListener("change", () => { state.sort = Number($("sort").value); apply(); });
    $("turn").addEventListener("click", () => { state.down = !state.down; $("turn").textContent = state.down ? "↓" : "↑"; apply(); });
    let wait = 0;
    $("search").addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(() => { state.text = $("search").value.trim(); apply(); }, 80);
    });
    $("bar").addEventListener("submit", (event) => event.preventDefault());
    $("reset").addEventListener("click", () => {
      Object.assign(state, { text: "", field: -1 });
      $("search").value = "";
      $("field").value = "-1";
      choose("all");
      conditions();
      apply();
    });
    const opened = (event) => {
      const card = event.target.closest(".card");
      if (card) show(found.findIndex((item) => item.place === Number(card.dataset.place)));
      return card;
    };
    $("sheet").addEventListener("click", opened);
    $("sheet").addEventListener("keydown", (event) => {
      if ((event.key === "Enter" || event.key === " ") && opened(event)) event.preventDefault();
    });
    $("before").addEventListener("click", () => show(open - 1));
    $("after").addEventListener("click", () => show(open + 1));
    $("close").addEventListener("click", () => $("item").close());
    $("item").addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") show(open - 1);
      if (event.key === "ArrowRight") show(open + 1);
    });
    new IntersectionObserver((seen) => { if (seen[0].isIntersecting) more(); }, { rootMargin: "1200px" }).observe(document.querySelector("footer"));
  }

  function choose(status) {
    state.status = status;
    $("codes").hidden = status !== "error" || $("code").options.length < 3; // "any" and one code
    if (status !== "error") state.code = $("code").value = "";
    for (const button of $("status").children) button.setAttribute("aria-pressed", String(button.dataset.value === status));
  }

  setUp();
  $("loading").hidden = true;
  $("bar").hidden = items.length === 0;
  apply();
})();
