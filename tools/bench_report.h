/*
 * What a run has shown: a table for people, a line of JSON for programs, and progress meanwhile.
 */
#ifndef SC_TOOLS_BENCH_REPORT_H
#define SC_TOOLS_BENCH_REPORT_H

#include "tools/bench.h"

#include <stdio.h>

/* What is measured, and how: one line before the table. */
void sc_bench_report_title(FILE *out, const struct sc_bench_options *options);

/* The names of the columns. */
void sc_bench_report_head(FILE *out);

/* A line of the table. */
void sc_bench_report_row(FILE *out, const struct sc_bench_run *run);

/* A line of JSON. */
void sc_bench_report_json(FILE *out, const struct sc_bench_run *run);

/* Overwrites the last line of a terminal: what runs, and the rate since the last call. */
void sc_bench_report_progress(FILE *terminal, const char *what, uint64_t operations,
                              double seconds);
void sc_bench_report_progress_end(FILE *terminal);

#endif
