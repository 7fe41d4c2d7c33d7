#include "tools/bench.h"

#include <stdio.h>

const char *sc_bench_workload_name(enum sc_bench_workload workload)
{
    static const char *const names[] = {
#define NAME(name, text, what) text,
        SC_BENCH_WORKLOADS(NAME)
#undef NAME
    };
    return names[workload];
}

bool sc_bench_more(struct sc_bench_run *run)
{
    if (atomic_load_explicit(&run->stop, memory_order_relaxed)) {
        return false;
    }
    if (run->options->requests > 0 && atomic_fetch_sub(&run->requests_left, 1) <= 0) {
        atomic_store(&run->stop, true);
        return false;
    }
    return true;
}

void sc_bench_error(struct sc_bench_tally *tally, int status, const char *why)
{
    if (tally->errors++ == 0) {
        tally->status = status;
        (void)snprintf(tally->why, sizeof tally->why, "%s",
                       why != NULL ? why : shardcask_status_text(status));
    }
}
