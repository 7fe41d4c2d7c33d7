/*
 * The cluster map as it is shown: the shards with their share of the slots and, from the stats,
 * what each holds.
 */
#ifndef SC_TOOLS_CLI_MAP_H
#define SC_TOOLS_CLI_MAP_H

#include "tools/cli.h"

struct sc_cli_map_shard {
    uint64_t id;
    struct sc_slice url;
    struct sc_slice state;
    struct sc_slice raw; /* the whole entry of the map */
    struct sc_slice stats; /* this shard's figures; empty: none known */
    uint32_t slots;
    uint32_t ranges;
};

/* Borrows the reply that it was read from. */
struct sc_cli_map {
    uint64_t epoch;
    uint64_t slots;
    struct sc_slice shards_raw;
    struct sc_slice ranges_raw;
    struct sc_cli_map_shard *shards;
    size_t count;
};

/* Reads the answer to `map`. False when it is not what it should be; nothing is to be freed. */
bool sc_cli_map_read(struct sc_cli_map *map, struct sc_slice result);
void sc_cli_map_fini(struct sc_cli_map *map);

/* Adds what the answer to `stats` tells about each shard. What does not fit is ignored. */
void sc_cli_map_add_stats(struct sc_cli_map *map, struct sc_slice stats);

/* Prints the map as tables. */
void sc_cli_map_print(struct sc_cli *cli, const struct sc_cli_map *map);

/* Prints the shards: as a table, or as a JSON array of what the map says of each with "slots" and,
 * where known, "keys". */
void sc_cli_map_print_shards(struct sc_cli *cli, const struct sc_cli_map *map);

#endif
