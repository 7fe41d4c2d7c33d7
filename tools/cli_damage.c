/* damage: what the shards know to be damaged on their disks. */
#include <inttypes.h>
#include <string.h>

#include "client/json.h"
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_figures.h"
#include "tools/cli_output.h"

#define COLUMNS 7u
#define KEY_SHOWN 40

/* What is being printed. */
struct listing {
    struct sc_cli *cli;
    bool pretty;
    struct sc_cli_table table;
    struct sc_buf line;
    uint64_t known; /* damage, of all shards */
    uint64_t shown;
    uint32_t down; /* shards that did not answer */
};

static bool find_number(struct sc_slice map, const char *name, uint64_t *number)
{
    struct sc_slice value;
    if (!sc_cli_figures_find(map, name, &value)) {
        return false;
    }
    struct sc_mp mp = sc_mp(value);
    return sc_mp_uint(&mp, number);
}

static bool is_member(struct sc_slice name, const char *text)
{
    struct sc_mp mp = sc_mp(name);
    struct sc_slice found;
    return sc_mp_str(&mp, &found) && sc_slice_equal(found, sc_slice_str(text));
}

static void put_text(struct sc_buf *line, const char *text)
{
    sc_buf_append(line, text, strlen(text));
}

/* ---- A line of JSON ---- */

/* The map of a finding, with the shard's id in front; its key as keys are printed everywhere. */
static bool print_json(struct listing *listing, uint64_t shard, struct sc_slice finding)
{
    struct sc_buf *line = &listing->line;
    struct sc_mp mp = sc_mp(finding);
    uint32_t members = 0;
    char head[40];
    if (!sc_mp_map(&mp, &members)) {
        return false;
    }
    line->size = 0;
    (void)snprintf(head, sizeof head, "{\"shard\":%" PRIu64, shard);
    put_text(line, head);
    for (uint32_t i = 0; i < members; i++) {
        struct sc_slice name = {NULL, 0};
        struct sc_slice value = {NULL, 0};
        struct sc_slice key = {NULL, 0};
        if (!sc_mp_skip(&mp, &name) || !sc_mp_skip(&mp, &value)) {
            return false;
        }
        put_text(line, ",");
        bool good = sc_json_write(name, line, NULL) == SC_OK;
        put_text(line, ":");
        struct sc_mp bytes = sc_mp(value);
        if (is_member(name, "key") && sc_mp_bytes(&bytes, &key)) {
            sc_json_write_key(key, line);
        } else if (!good || sc_json_write(value, line, NULL) != SC_OK) {
            return false;
        }
    }
    put_text(line, "}");
    sc_cli_output_line(listing->cli, line);
    return true;
}

/* ---- A row of the table ---- */

static void add_text(struct listing *listing, struct sc_slice finding, const char *name)
{
    char text[256] = "";
    struct sc_slice value;
    struct sc_slice found = {NULL, 0};
    if (sc_cli_figures_find(finding, name, &value)) {
        struct sc_mp mp = sc_mp(value);
        if (sc_mp_str(&mp, &found)) {
            (void)snprintf(text, sizeof text, "%.*s", (int)found.size, (const char *)found.data);
        }
    }
    sc_cli_table_add(&listing->table, SC_CLI_PLAIN, text);
}

static void add_number(struct listing *listing, struct sc_slice finding, const char *name)
{
    uint64_t number = 0;
    (void)find_number(finding, name, &number);
    sc_cli_table_add_number(&listing->table, number);
}

/* Cut when it is long: a key may have 65,535 bytes. */
static void add_key(struct listing *listing, struct sc_slice finding)
{
    struct sc_slice value;
    struct sc_slice key = {NULL, 0};
    listing->line.size = 0;
    if (sc_cli_figures_find(finding, "key", &value)) {
        struct sc_mp mp = sc_mp(value);
        if (sc_mp_bytes(&mp, &key)) {
            bool cut = key.size > KEY_SHOWN;
            sc_json_write_key(sc_slice(key.data, cut ? KEY_SHOWN : key.size), &listing->line);
            put_text(&listing->line, cut ? "..." : "");
        }
    }
    sc_buf_append(&listing->line, "", 1);
    sc_cli_table_add(&listing->table, SC_CLI_BOLD, (const char *)listing->line.data);
}

static void add_row(struct listing *listing, uint64_t shard, struct sc_slice finding)
{
    sc_cli_table_add_number(&listing->table, shard);
    add_text(listing, finding, "file");
    add_number(listing, finding, "offset");
    add_number(listing, finding, "size");
    add_text(listing, finding, "kind");
    add_key(listing, finding);
    add_text(listing, finding, "meaning");
}

/* ---- Shards ---- */

static bool list_findings(struct listing *listing, uint64_t shard, struct sc_slice findings)
{
    struct sc_mp mp = sc_mp(findings);
    uint32_t count = 0;
    bool good = sc_mp_array(&mp, &count);
    for (uint32_t i = 0; good && i < count; i++) {
        struct sc_slice finding = {NULL, 0};
        good = sc_mp_peek(&mp) == SC_MP_MAP && sc_mp_skip(&mp, &finding);
        if (good && listing->pretty) {
            add_row(listing, shard, finding);
        } else if (good) {
            good = print_json(listing, shard, finding);
        }
        listing->shown++;
    }
    return good;
}

static bool list_shard(struct listing *listing, struct sc_slice shard)
{
    uint64_t id = 0;
    uint64_t known = 0;
    struct sc_slice findings;
    if (!find_number(shard, "id", &id)) {
        return false;
    }
    if (!sc_cli_figures_find(shard, "damage", &findings)) {
        struct sc_slice why = {NULL, 0};
        struct sc_slice value;
        if (sc_cli_figures_find(shard, "why", &value)) {
            struct sc_mp mp = sc_mp(value);
            (void)sc_mp_str(&mp, &why);
        }
        listing->down++;
        (void)sc_cli_complain(listing->cli, SC_CLI_ERROR, "damage: shard %" PRIu64 ": %.*s", id,
                              (int)why.size, why.size > 0 ? (const char *)why.data : "");
        return true;
    }
    (void)find_number(shard, "known", &known);
    listing->known += known;
    return list_findings(listing, id, findings);
}

static bool list_shards(struct listing *listing, struct sc_slice map)
{
    struct sc_slice shards;
    uint32_t count = 0;
    if (!sc_cli_figures_find(map, "shards", &shards)) {
        return list_shard(listing, map); /* it was a shard that was asked */
    }
    struct sc_mp mp = sc_mp(shards);
    bool good = sc_mp_array(&mp, &count);
    for (uint32_t i = 0; good && i < count; i++) {
        struct sc_slice shard = {NULL, 0};
        good = sc_mp_skip(&mp, &shard) && list_shard(listing, shard);
    }
    return good;
}

static void begin_table(struct listing *listing)
{
    static const char *const heads[COLUMNS] = {"SHARD", "FILE", "OFFSET",       "SIZE",
                                               "KIND",  "KEY",  "WHAT IT MEANS"};
    sc_cli_table_init(&listing->table, COLUMNS);
    for (size_t i = 0; i < COLUMNS; i++) {
        sc_cli_table_add(&listing->table, SC_CLI_BOLD, heads[i]);
    }
}

static int end_listing(struct listing *listing)
{
    struct sc_cli *cli = listing->cli;
    if (listing->known == 0) {
        if (listing->pretty && listing->down == 0) {
            fputs("Nothing is known to be damaged.\n", cli->out);
        }
        return listing->down == 0 ? SC_CLI_DONE : SC_CLI_ERROR;
    }
    if (listing->known > listing->shown) {
        return sc_cli_complain(cli, SC_CLI_ERROR, "damage: %" PRIu64 " more are not shown",
                               listing->known - listing->shown);
    }
    return SC_CLI_ERROR;
}

int sc_cli_damage(struct sc_cli *cli, const struct sc_cli_args *args)
{
    (void)args;
    struct sc_buf request = {0};
    struct sc_cli_reply reply;
    struct sc_slice map = {NULL, 0};
    sc_msg_put_op(&request, SC_OP_DAMAGE, 0);
    int code = sc_cli_ask(cli, "damage", sc_buf_slice(&request), &reply);
    sc_buf_fini(&request);
    if (code != SC_CLI_DONE) {
        return code;
    }
    struct listing listing = {.cli = cli, .pretty = sc_cli_output_pretty(cli)};
    begin_table(&listing);
    bool good = sc_mp_skip(&reply.result, &map) && list_shards(&listing, map);
    if (listing.pretty && listing.shown > 0) {
        sc_cli_table_print(cli, &listing.table);
    } else {
        sc_cli_table_fini(&listing.table);
    }
    code = good ? end_listing(&listing) : sc_cli_garbled(cli, "damage");
    sc_buf_fini(&listing.line);
    sc_cli_reply_fini(&reply);
    return code;
}
