/*
 * Tuning: the settings that can be changed while a shard runs, and its turn to merge. Both come
 * from the coordinator and end at the upkeep, the snapshots or the scrubber.
 *
 * Guarded by the hub's lock.
 */
#ifndef SC_SHARD_TUNING_H
#define SC_SHARD_TUNING_H

#include "common/config.h"
#include "shard/scrubber.h"
#include "shard/snapshots.h"
#include "shard/upkeep.h"

/* Private, but for its size. */
struct sc_tuning {
    struct sc_upkeep *upkeep; /* borrowed; NULL until attached */
    struct sc_snapshots *snapshots; /* likewise */
    struct sc_scrubber *scrubber; /* likewise */
    struct sc_config config;
    bool turn;
};

/* Begins with what the flags say, and with the turn: a shard without a coordinator merges when it
 * likes. */
void sc_tuning_init(struct sc_tuning *tuning, const struct sc_upkeep_options *options,
                    uint64_t scrub_bytes_per_second);

/* From now on changes reach these; NULL: no longer. */
void sc_tuning_attach(struct sc_tuning *tuning, struct sc_upkeep *upkeep,
                      struct sc_snapshots *snapshots, struct sc_scrubber *scrubber);

/* The operations config and x.merge: each appends its reply. */
void sc_tuning_config(struct sc_tuning *tuning, const struct sc_config *change,
                      struct sc_buf *reply);
void sc_tuning_turn(struct sc_tuning *tuning, bool allow, struct sc_buf *reply);

#endif
