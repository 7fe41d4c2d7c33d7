/*
 * Settings that can be changed while a fleet runs, by the operation "config". Each is an unsigned
 * number with a range (one that is 0 or 1 may be sent as a bool too). A change lasts as long as the
 * coordinator runs; flags of the daemons give what holds after a start.
 */
#ifndef SC_COMMON_CONFIG_H
#define SC_COMMON_CONFIG_H

#include "common/mp.h"
#include "common/status.h"

/* name, least, most, default, meaning */
#define SC_CONFIG_LIST(X)                                                     \
    X(merge_dead_percent, 1, 100, 40,                                         \
      "a data file is merged when so many percent of it can be reclaimed")    \
    X(merge_dead_bytes, 0, INT64_MAX, 4 << 20,                                \
      "... and of all such files of a shard together at least so many bytes") \
    X(merge_bytes_per_second, 0, INT64_MAX, 32 << 20,                         \
      "a merge reads and writes no more than this; 0: no limit")              \
    X(merge_paused, 0, 1, 0, "merges stand still")                            \
    X(merges_at_once, 1, 1024, 1, "shards that may merge at the same time")   \
    X(snapshot_memory, 0, INT64_MAX, 256 << 20,                               \
      "bytes that a snapshot may take for what changes; 0: no limit")         \
    X(snapshot_idle_ms, 1000, 86400000, 60000,                                \
      "a snapshot from which nobody reads for so long is closed")             \
    X(scrub_bytes_per_second, 0, INT64_MAX, 8 << 20,                          \
      "the scrub in the background reads no more than this; 0: there is none")

enum sc_config_name {
#define SC_CONFIG_ENUM(name, least, most, preset, meaning) SC_CONFIG_##name,
    SC_CONFIG_LIST(SC_CONFIG_ENUM)
#undef SC_CONFIG_ENUM
        SC_CONFIG_NAMES
};

/* Readable: values by name; `given` has a bit for each that was given (all of them, in settings
 * that are in force). */
struct sc_config {
    uint64_t values[SC_CONFIG_NAMES];
    uint32_t given;
};

/* The defaults, with no bit given. */
struct sc_config sc_config_defaults(void);

const char *sc_config_name(enum sc_config_name name);
const char *sc_config_meaning(enum sc_config_name name);

/* Takes over from `change` what it gives; the bits add up. */
void sc_config_apply(struct sc_config *config, const struct sc_config *change);

/* Reads a map of changes. SC_BADREQUEST: an unknown setting, one given twice, or out of its range.
 */
enum sc_status sc_config_parse(struct sc_mp *mp, struct sc_config *change, char *why);

/* Appends a map: of the settings given, or of all. */
void sc_config_put(const struct sc_config *config, bool all, struct sc_buf *out);

/* Appends the pairs of a map for all settings and returns how many. */
uint32_t sc_config_put_pairs(const struct sc_config *config, struct sc_buf *out);

#endif
