#include "tools/cli_map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "tools/cli_figures.h"
#include "tools/cli_output.h"

#define RANGES_SHOWN 24u /* more are left to --json */

static bool find_uint(struct sc_slice map, const char *name, uint64_t *number)
{
    struct sc_slice value = {NULL, 0};
    if (!sc_cli_figures_find(map, name, &value)) {
        return false;
    }
    struct sc_mp mp = sc_mp(value);
    return sc_mp_uint(&mp, number);
}

static bool find_str(struct sc_slice map, const char *name, struct sc_slice *text)
{
    struct sc_slice value = {NULL, 0};
    if (!sc_cli_figures_find(map, name, &value)) {
        return false;
    }
    struct sc_mp mp = sc_mp(value);
    return sc_mp_str(&mp, text);
}

static struct sc_cli_map_shard *find_shard(struct sc_cli_map *map, uint64_t id)
{
    for (size_t i = 0; i < map->count; i++) {
        if (map->shards[i].id == id) {
            return &map->shards[i];
        }
    }
    return NULL;
}

static bool read_shards(struct sc_cli_map *map)
{
    struct sc_mp mp = sc_mp(map->shards_raw);
    uint32_t count = 0;
    if (!sc_mp_array(&mp, &count)) {
        return false;
    }
    map->shards = sc_calloc((size_t)count + 1, sizeof *map->shards);
    for (uint32_t i = 0; i < count; i++) {
        struct sc_cli_map_shard *shard = &map->shards[map->count++];
        if (!sc_mp_skip(&mp, &shard->raw) || !find_uint(shard->raw, "id", &shard->id) ||
            !find_str(shard->raw, "url", &shard->url) ||
            !find_str(shard->raw, "state", &shard->state)) {
            return false;
        }
    }
    return true;
}

/* Reads one range [first, last, shard id]. */
static bool read_range(struct sc_mp *mp, uint64_t *first, uint64_t *last, uint64_t *id)
{
    uint32_t parts = 0;
    return sc_mp_array(mp, &parts) && parts == 3 && sc_mp_uint(mp, first) && sc_mp_uint(mp, last) &&
           sc_mp_uint(mp, id) && *first <= *last && *last < UINT32_MAX;
}

static bool read_ranges(struct sc_cli_map *map)
{
    struct sc_mp mp = sc_mp(map->ranges_raw);
    uint32_t count = 0;
    if (!sc_mp_array(&mp, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t first = 0;
        uint64_t last = 0;
        uint64_t id = 0;
        if (!read_range(&mp, &first, &last, &id)) {
            return false;
        }
        struct sc_cli_map_shard *shard = find_shard(map, id);
        if (shard != NULL) {
            shard->slots += (uint32_t)(last - first + 1);
            shard->ranges++;
        }
    }
    return true;
}

bool sc_cli_map_read(struct sc_cli_map *map, struct sc_slice result)
{
    *map = (struct sc_cli_map){0};
    if (find_uint(result, "epoch", &map->epoch) && find_uint(result, "slots", &map->slots) &&
        sc_cli_figures_find(result, "shards", &map->shards_raw) &&
        sc_cli_figures_find(result, "ranges", &map->ranges_raw) && read_shards(map) &&
        read_ranges(map)) {
        return true;
    }
    sc_cli_map_fini(map);
    return false;
}

void sc_cli_map_fini(struct sc_cli_map *map)
{
    free(map->shards);
    *map = (struct sc_cli_map){0};
}

void sc_cli_map_add_stats(struct sc_cli_map *map, struct sc_slice stats)
{
    struct sc_slice list = {NULL, 0};
    uint32_t count = 0;
    if (!sc_cli_figures_find(stats, "shards", &list)) {
        return;
    }
    struct sc_mp mp = sc_mp(list);
    if (sc_mp_peek(&mp) != SC_MP_ARRAY || !sc_mp_array(&mp, &count)) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct sc_slice entry = {NULL, 0};
        uint64_t id = 0;
        if (!sc_mp_skip(&mp, &entry)) {
            return;
        }
        struct sc_cli_map_shard *shard = find_uint(entry, "id", &id) ? find_shard(map, id) : NULL;
        if (shard != NULL) {
            shard->stats = entry;
        }
    }
}

/* ---- Printing ---- */

static void add_share(struct sc_cli_table *table, const struct sc_cli_map *map, uint32_t slots)
{
    char text[32];
    snprintf(text, sizeof text, "%.2f%%",
             map->slots > 0 ? 100.0 * slots / (double)map->slots : 0.0);
    sc_cli_table_add(table, SC_CLI_PLAIN, text);
    table->cells[table->count - 1].right = true;
}

static void add_headers(struct sc_cli_table *table, const char *const *names)
{
    for (size_t i = 0; i < table->columns; i++) {
        sc_cli_table_add(table, SC_CLI_BOLD, names[i]);
    }
}

static void add_text(struct sc_cli_table *table, struct sc_slice text)
{
    struct sc_buf copy = {0};
    sc_buf_append_slice(&copy, text);
    sc_buf_append(&copy, "", 1);
    sc_cli_table_add(table, SC_CLI_PLAIN, (const char *)copy.data);
    sc_buf_fini(&copy);
}

static void print_ranges(struct sc_cli *cli, const struct sc_cli_map *map)
{
    static const char *const names[] = {"FIRST", "LAST", "SHARD"};
    struct sc_mp mp = sc_mp(map->ranges_raw);
    struct sc_cli_table table;
    uint32_t count = 0;
    uint64_t range[3];
    sc_cli_table_init(&table, 3);
    add_headers(&table, names);
    (void)sc_mp_array(&mp, &count);
    for (uint32_t i = 0; i < count && i < RANGES_SHOWN; i++) {
        if (!read_range(&mp, &range[0], &range[1], &range[2])) {
            break;
        }
        for (size_t part = 0; part < 3; part++) {
            sc_cli_table_add_number(&table, range[part]);
        }
    }
    fputc('\n', cli->out);
    sc_cli_table_print(cli, &table);
    if (count > RANGES_SHOWN) {
        fprintf(cli->out, "... %" PRIu32 " ranges in all; --json lists them\n", count);
    }
}

void sc_cli_map_print(struct sc_cli *cli, const struct sc_cli_map *map)
{
    static const char *const names[] = {"SHARD", "STATE", "SLOTS", "SHARE", "RANGES", "URL"};
    struct sc_cli_table table;
    fprintf(cli->out, "epoch %" PRIu64 ", %" PRIu64 " slots\n\n", map->epoch, map->slots);
    sc_cli_table_init(&table, 6);
    add_headers(&table, names);
    for (size_t i = 0; i < map->count; i++) {
        const struct sc_cli_map_shard *shard = &map->shards[i];
        sc_cli_table_add_number(&table, shard->id);
        sc_cli_table_add_state(&table, shard->state);
        sc_cli_table_add_number(&table, shard->slots);
        add_share(&table, map, shard->slots);
        sc_cli_table_add_number(&table, shard->ranges);
        add_text(&table, shard->url);
    }
    sc_cli_table_print(cli, &table);
    print_ranges(cli, map);
}

static void print_shard_table(struct sc_cli *cli, const struct sc_cli_map *map)
{
    static const char *const names[] = {"SHARD", "STATE", "WEIGHT", "SLOTS",
                                        "SHARE", "KEYS",  "URL"};
    struct sc_cli_table table;
    sc_cli_table_init(&table, 7);
    add_headers(&table, names);
    for (size_t i = 0; i < map->count; i++) {
        const struct sc_cli_map_shard *shard = &map->shards[i];
        uint64_t keys = 0;
        sc_cli_table_add_number(&table, shard->id);
        uint64_t weight = 100; /* of a coordinator that does not tell */
        (void)find_uint(shard->raw, "weight", &weight);
        sc_cli_table_add_state(&table, shard->state);
        sc_cli_table_add_number(&table, weight);
        sc_cli_table_add_number(&table, shard->slots);
        add_share(&table, map, shard->slots);
        if (find_uint(shard->stats, "keys", &keys)) {
            sc_cli_table_add_number(&table, keys);
        } else {
            sc_cli_table_add(&table, SC_CLI_PLAIN, "?");
        }
        add_text(&table, shard->url);
    }
    sc_cli_table_print(cli, &table);
}

/* Appends the members of an encoded map behind its head, and returns how many. */
static uint32_t append_members(struct sc_buf *out, struct sc_slice map)
{
    struct sc_mp mp = sc_mp(map);
    uint32_t members = 0;
    if (sc_mp_map(&mp, &members)) {
        sc_buf_append(out, mp.at, (size_t)(mp.end - mp.at));
    }
    return members;
}

void sc_cli_map_print_shards(struct sc_cli *cli, const struct sc_cli_map *map)
{
    if (sc_cli_output_pretty(cli)) {
        print_shard_table(cli, map);
        return;
    }
    struct sc_buf out = {0};
    sc_mp_put_array(&out, (uint32_t)map->count);
    for (size_t i = 0; i < map->count; i++) {
        const struct sc_cli_map_shard *shard = &map->shards[i];
        struct sc_buf members = {0};
        uint64_t keys = 0;
        bool has_keys = find_uint(shard->stats, "keys", &keys);
        uint32_t count = append_members(&members, shard->raw);
        sc_mp_put_map(&out, count + 1 + has_keys);
        sc_buf_append_slice(&out, sc_buf_slice(&members));
        sc_mp_put_cstr(&out, "slots");
        sc_mp_put_uint(&out, shard->slots);
        if (has_keys) {
            sc_mp_put_cstr(&out, "keys");
            sc_mp_put_uint(&out, keys);
        }
        sc_buf_fini(&members);
    }
    (void)sc_cli_output_json(cli, sc_buf_slice(&out));
    sc_buf_fini(&out);
}
