"""Files and batch jobs of the emulator: uploads, jobs from queue to end, results to download."""
