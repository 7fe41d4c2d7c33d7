#include "common/version.h"
#include "tools/engine_bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_WIDTH 39
#define WIDTH 11

static const struct {
    const char *name;
    const char *words;
    int digits;
    enum sc_engine_bench_better better;
} measures[] = {
#define MEASURE_TEXT(id, name, words, digits, better) \
    {name, words, digits, SC_ENGINE_BENCH_##better},
    SC_ENGINE_BENCH_MEASURES(MEASURE_TEXT)
#undef MEASURE_TEXT
};

/* The medians of one number of keys. */
struct table {
    const struct sc_engine_bench_settings *settings;
    uint64_t keys;
    double values[SC_CONTENDER_MAX][SC_ENGINE_BENCH_MEASURE_COUNT];
    const char *causes[SC_CONTENDER_MAX]; /* of the worst put of all rounds */
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of the rounds; the worst of them for what is the worst of its round. */
static double median(const struct sc_engine_bench_settings *settings,
                     const struct sc_engine_bench_round *rounds, size_t contender, size_t measure)
{
    double values[SC_ENGINE_BENCH_ROUNDS_MAX];
    for (unsigned i = 0; i < settings->rounds; i++) {
        values[i] = rounds[i].results[contender].values[measure];
        if (isnan(values[i])) {
            return NAN;
        }
    }
    qsort(values, settings->rounds, sizeof *values, compare);
    return measure == SC_ENGINE_BENCH_PUT_MAX
               ? values[settings->rounds - 1]
               : (values[(settings->rounds - 1) / 2] + values[settings->rounds / 2]) / 2;
}

static const char *cause_of(const struct sc_engine_bench_settings *settings,
                            const struct sc_engine_bench_round *rounds, size_t contender)
{
    const struct sc_engine_bench_result *worst = &rounds[0].results[contender];
    for (unsigned i = 1; i < settings->rounds; i++) {
        const struct sc_engine_bench_result *other = &rounds[i].results[contender];
        if (other->values[SC_ENGINE_BENCH_PUT_MAX] > worst->values[SC_ENGINE_BENCH_PUT_MAX]) {
            worst = other;
        }
    }
    return worst->cause;
}

/* The first engine against the best of the others; NAN where that says nothing. */
static double ratio(const struct table *table, size_t measure)
{
    double best = NAN;
    bool more = measures[measure].better == SC_ENGINE_BENCH_MORE;
    for (size_t c = 1; c < table->settings->contender_count; c++) {
        double value = table->values[c][measure];
        best = isnan(best) || (more ? value > best : value < best) ? value : best;
    }
    double own = table->values[0][measure];
    return measures[measure].better == SC_ENGINE_BENCH_NEITHER ? NAN
           : more                                              ? own / best
                                                               : best / own;
}

/* ---- On a terminal ---- */

static void print_number(double value, int digits)
{
    if (isnan(value)) {
        printf(" %*s", WIDTH, "");
    } else {
        printf(" %*.*f", WIDTH, digits, value);
    }
}

static void print_head(const struct table *table)
{
    const struct sc_engine_bench_settings *settings = table->settings;
    printf("%" PRIu64 " keys of %u bytes, values of %" PRIu64
           ", one thread; per second%s; medians of %u\n",
           table->keys, SC_ENGINE_BENCH_KEY_SIZE, settings->value_size,
           settings->processor_time ? " of processor time" : "", settings->rounds);
    printf("%-*s", FIRST_WIDTH, "");
    for (size_t c = 0; c < settings->contender_count; c++) {
        printf(" %*s", WIDTH, settings->contenders[c]->title);
    }
    printf(settings->contender_count > 1 ? " %*s\n" : "\n", WIDTH, "to the best");
}

static void print_table(const struct table *table)
{
    const struct sc_engine_bench_settings *settings = table->settings;
    print_head(table);
    for (size_t m = 0; m < SC_ENGINE_BENCH_MEASURE_COUNT; m++) {
        printf("%-*s", FIRST_WIDTH, measures[m].words);
        for (size_t c = 0; c < settings->contender_count; c++) {
            print_number(table->values[c][m], measures[m].digits);
        }
        double against = ratio(table, m);
        if (!isnan(against)) {
            print_number(against, 2);
        }
        printf("\n");
    }
    for (size_t c = 0; c < settings->contender_count; c++) {
        printf("worst put of %s: %s\n", settings->contenders[c]->title, table->causes[c]);
    }
    printf("\n");
}

static void print_settings(const struct sc_engine_bench_settings *settings)
{
    for (size_t c = 0; c < settings->contender_count; c++) {
        printf("%s: %s\n", settings->contenders[c]->title, settings->contenders[c]->settings);
    }
}

/* ---- JSON: a line for each number of keys ---- */

static void print_json_number(bool *first, const char *name, double value, int digits)
{
    if (!isnan(value)) {
        printf("%s\"%s\":%.*f", *first ? "" : ",", name, digits, value);
        *first = false;
    }
}

static void print_json(const struct table *table)
{
    const struct sc_engine_bench_settings *settings = table->settings;
    bool first;
    printf("{\"version\":\"" SC_VERSION "\",\"keys\":%" PRIu64
           ",\"key_bytes\":%u,\"value_bytes\":%" PRIu64 ",\"processor_time\":%s,\"rounds\":%u,"
           "\"engines\":{",
           table->keys, SC_ENGINE_BENCH_KEY_SIZE, settings->value_size,
           settings->processor_time ? "true" : "false", settings->rounds);
    for (size_t c = 0; c < settings->contender_count; c++) {
        const struct sc_contender *contender = settings->contenders[c];
        printf("%s\"%s\":{\"settings\":\"%s\",\"worst_put\":\"%s\",", c > 0 ? "," : "",
               contender->name, contender->settings, table->causes[c]);
        first = true;
        for (size_t m = 0; m < SC_ENGINE_BENCH_MEASURE_COUNT; m++) {
            print_json_number(&first, measures[m].name, table->values[c][m], measures[m].digits);
        }
        printf("}");
    }
    printf("},\"ratios\":{");
    first = true;
    for (size_t m = 0; m < SC_ENGINE_BENCH_MEASURE_COUNT; m++) {
        print_json_number(&first, measures[m].name, ratio(table, m), 3);
    }
    printf("}}\n");
}

void sc_engine_bench_report(const struct sc_engine_bench_settings *settings, size_t count_index,
                            const struct sc_engine_bench_round *rounds)
{
    struct table table = {.settings = settings, .keys = settings->counts[count_index]};
    for (size_t c = 0; c < settings->contender_count; c++) {
        table.causes[c] = cause_of(settings, rounds, c);
        for (size_t m = 0; m < SC_ENGINE_BENCH_MEASURE_COUNT; m++) {
            table.values[c][m] = median(settings, rounds, c, m);
        }
    }
    (settings->json ? print_json : print_table)(&table);
    if (!settings->json && count_index + 1 == settings->count_count) {
        print_settings(settings);
    }
    (void)fflush(stdout);
}
