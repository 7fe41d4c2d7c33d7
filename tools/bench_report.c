#include "tools/bench_report.h"

#include <inttypes.h>

/* With commas between the thousands. */
static const char *grouped(uint64_t number, char text[32])
{
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *to = text;
    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

static uint64_t rate(const struct sc_bench_run *run)
{
    return run->elapsed_s > 0 ? (uint64_t)((double)run->total.operations / run->elapsed_s) : 0;
}

static double percentile_us(const struct sc_bench_run *run, double percent)
{
    return (double)sc_bench_latency_percentile(&run->total.latency, percent) / 1000;
}

static const char *const mode_names[] = {"connections", "threads", "async"};

void sc_bench_report_title(FILE *out, const struct sc_bench_options *options)
{
    static const char *const units[] = {
        "connections, one message outstanding on each",
        "threads that share a handle",
        "operations outstanding on a handle",
    };
    char keys[32];
    char batch[48] = "";
    if (options->batch > 1) {
        (void)snprintf(batch, sizeof batch, ", %" PRIu64 " to a message", options->batch);
    }
    fprintf(out,
            "%s: %" PRIu64 " %s; %s keys of %" PRIu64 " bytes, values of %" PRIu64
            " bytes%s%s%s\n\n",
            options->url, options->width,
            options->own_handles ? "threads with a handle each" : units[options->mode],
            grouped(options->keys, keys), options->key_size, options->value_size, batch,
            options->direct ? ", directly to the shards" : "",
            options->sync == SHARDCASK_SYNC      ? ", each put waits for the disk"
            : options->sync == SHARDCASK_NO_SYNC ? ", no put waits for the disk"
                                                 : "");
}

void sc_bench_report_head(FILE *out)
{
    fprintf(out, "%-8s %12s %12s %8s   latency of a message, us\n", "", "operations", "a second",
            "errors");
    fprintf(out, "%-8s %12s %12s %8s %9s %9s %9s %9s %9s\n", "workload", "", "", "", "p50", "p90",
            "p99", "p99.9", "max");
}

void sc_bench_report_row(FILE *out, const struct sc_bench_run *run)
{
    char operations[32];
    char a_second[32];
    char errors[32];
    fprintf(out, "%-8s %12s %12s %8s %9.1f %9.1f %9.1f %9.1f %9.1f\n",
            sc_bench_workload_name(run->workload), grouped(run->total.operations, operations),
            grouped(rate(run), a_second), grouped(run->total.errors, errors),
            percentile_us(run, 50), percentile_us(run, 90), percentile_us(run, 99),
            percentile_us(run, 99.9), (double)run->total.latency.max_ns / 1000);
}

void sc_bench_report_json(FILE *out, const struct sc_bench_run *run)
{
    const struct sc_bench_options *o = run->options;
    const struct sc_bench_latency *latency = &run->total.latency;
    double mean_us =
        latency->count > 0 ? (double)latency->total_ns / (double)latency->count / 1000 : 0;
    fprintf(out, "{\"workload\":\"%s\",\"mode\":\"%s\",\"width\":%" PRIu64 ",\"batch\":%" PRIu64,
            sc_bench_workload_name(run->workload), mode_names[o->mode], o->width, o->batch);
    fprintf(out, ",\"direct\":%s,\"own_handles\":%s", o->direct ? "true" : "false",
            o->own_handles ? "true" : "false");
    fprintf(out, ",\"keys\":%" PRIu64 ",\"key_size\":%" PRIu64 ",\"value_size\":%" PRIu64, o->keys,
            o->key_size, o->value_size);
    fprintf(out,
            ",\"seconds\":%.3f,\"operations\":%" PRIu64 ",\"ops_per_second\":%" PRIu64
            ",\"missing\":%" PRIu64 ",\"errors\":%" PRIu64,
            run->elapsed_s, run->total.operations, rate(run), run->total.missing,
            run->total.errors);
    fprintf(out,
            ",\"latency_us\":{\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f"
            ",\"max\":%.1f}}\n",
            mean_us, percentile_us(run, 50), percentile_us(run, 90), percentile_us(run, 99),
            percentile_us(run, 99.9), (double)latency->max_ns / 1000);
}

void sc_bench_report_progress(FILE *terminal, const char *what, uint64_t operations, double seconds)
{
    char a_second[32];
    (void)grouped(seconds > 0 ? (uint64_t)((double)operations / seconds) : 0, a_second);
    fprintf(terminal, "\r%-8s %12s operations a second \033[K", what, a_second);
    (void)fflush(terminal);
}

void sc_bench_report_progress_end(FILE *terminal)
{
    fputs("\r\033[K", terminal);
    (void)fflush(terminal);
}
