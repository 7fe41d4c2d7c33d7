/*
 * A progress bar on standard error for commands that take long: how far, how many, how fast. It
 * draws at most ten times a second and only when it was enabled (on a terminal); otherwise every
 * function does nothing.
 */
#ifndef SC_TOOLS_PROGRESS_H
#define SC_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct sc_progress {
    FILE *out;
    bool enabled;
    const char *what; /* borrowed: "import" */
    const char *unit; /* borrowed: "records" */
    uint64_t start_ns;
    uint64_t drawn_ns; /* when it was drawn last; 0: never */
};

void sc_progress_init(struct sc_progress *progress, FILE *out, bool enabled, const char *what,
                      const char *unit);

/* `done` of `total` parts of the work (total 0: not known), in which `count` units were handled. */
void sc_progress_update(struct sc_progress *progress, uint64_t done, uint64_t total,
                        uint64_t count);

/* Removes the bar, so that other lines can follow. */
void sc_progress_clear(struct sc_progress *progress);

/* Seconds since init. */
double sc_progress_seconds(const struct sc_progress *progress);

/* Writes a number with separators between thousands into `text` (32 bytes) and returns it. */
const char *sc_progress_number(uint64_t number, char *text);

#endif
