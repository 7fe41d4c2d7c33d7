#include "shard/tuning.h"

#include "common/log.h"
#include "common/msg.h"

void sc_tuning_init(struct sc_tuning *tuning, const struct sc_upkeep_options *options,
                    uint64_t scrub_bytes_per_second)
{
    *tuning = (struct sc_tuning){.config = sc_config_defaults(), .turn = true};
    tuning->config.values[SC_CONFIG_merge_dead_percent] = options->merge.dead_percent;
    tuning->config.values[SC_CONFIG_merge_dead_bytes] = options->merge.dead_bytes_min;
    tuning->config.values[SC_CONFIG_merge_bytes_per_second] = options->merge_bytes_per_second;
    tuning->config.values[SC_CONFIG_scrub_bytes_per_second] = scrub_bytes_per_second;
}

static void apply(struct sc_tuning *tuning)
{
    const uint64_t *values = tuning->config.values;
    const struct sc_upkeep_options options = {
        .merge = {.dead_percent = (uint32_t)values[SC_CONFIG_merge_dead_percent],
                  .dead_bytes_min = values[SC_CONFIG_merge_dead_bytes]},
        .merge_bytes_per_second = values[SC_CONFIG_merge_bytes_per_second],
    };
    if (tuning->upkeep != NULL) {
        sc_upkeep_configure(tuning->upkeep, &options);
        sc_upkeep_merge_allow(tuning->upkeep, tuning->turn);
        sc_upkeep_merge_pause(tuning->upkeep, values[SC_CONFIG_merge_paused] != 0);
    }
    if (tuning->snapshots != NULL) {
        sc_snapshots_configure(tuning->snapshots, values[SC_CONFIG_snapshot_memory],
                               values[SC_CONFIG_snapshot_idle_ms]);
    }
    if (tuning->scrubber != NULL) {
        sc_scrubber_configure(tuning->scrubber, values[SC_CONFIG_scrub_bytes_per_second]);
    }
}

void sc_tuning_attach(struct sc_tuning *tuning, struct sc_upkeep *upkeep,
                      struct sc_snapshots *snapshots, struct sc_scrubber *scrubber)
{
    tuning->upkeep = upkeep;
    tuning->snapshots = snapshots;
    tuning->scrubber = scrubber;
    apply(tuning);
}

void sc_tuning_config(struct sc_tuning *tuning, const struct sc_config *change,
                      struct sc_buf *reply)
{
    sc_config_apply(&tuning->config, change);
    if (change->given != 0) {
        sc_log_info("settings were changed");
        apply(tuning);
    }
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    sc_config_put(&tuning->config, true, reply);
}

void sc_tuning_turn(struct sc_tuning *tuning, bool allow, struct sc_buf *reply)
{
    struct sc_upkeep_figures figures = {.state = SC_UPKEEP_IDLE};
    if (allow != tuning->turn) {
        tuning->turn = allow;
        apply(tuning);
    }
    if (tuning->upkeep != NULL) {
        sc_upkeep_figures(tuning->upkeep, &figures);
    }
    bool paused = tuning->config.values[SC_CONFIG_merge_paused] != 0;
    sc_mp_put_array(reply, 4);
    sc_mp_put_uint(reply, SC_OK);
    sc_mp_put_bool(reply, figures.state != SC_UPKEEP_IDLE && !paused);
    sc_mp_put_bool(reply, figures.state == SC_UPKEEP_MERGING);
    sc_mp_put_bool(reply, figures.urgent);
}
