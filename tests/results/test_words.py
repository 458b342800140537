from vision_pipeline.results.words import found_words, words


def test_words_are_runs_of_letters_and_digits_without_case():
    assert words("Total: RM9.75 — GST_ID café") == ["total", "rm9", "75", "gst", "id", "café"]


def test_a_word_that_is_true_twice_must_be_read_twice():
    assert found_words(["a", "a", "b"], ["a", "b", "c"]) == 2
