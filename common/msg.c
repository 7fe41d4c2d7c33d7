#include "common/msg.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>

#include "common/slot.h"

#define CLUSTER_ID_SIZE 16

/* ---- Operations ---- */

struct op_info {
    const char *name;
    uint8_t size; /* of the name */
    uint8_t least, most; /* arguments */
    uint8_t kind;
};

static const struct op_info ops[SC_OP_NONE] = {
#define OP_INFO(name, text, least, most, kind) \
    [SC_OP_##name] = {text, sizeof(text) - 1, least, most, kind},
    SC_OP_LIST(OP_INFO)
#undef OP_INFO
};

const char *sc_op_name(enum sc_op op)
{
    assert(op < SC_OP_NONE);
    return ops[op].name;
}

unsigned sc_op_kind(enum sc_op op)
{
    assert(op < SC_OP_NONE);
    return ops[op].kind;
}

/* The only operation that a name of four letters can be, by the second. */
static enum sc_op guess_of_four(char second)
{
    switch (second) {
    case 'g':
        return SC_OP_MGET;
    case 'p':
        return SC_OP_MPUT;
    case 'd':
        return SC_OP_MDEL;
    case 'n':
        return SC_OP_INCR;
    case 'e':
        return SC_OP_META;
    case 'i':
        return SC_OP_PING;
    case 'c':
        return SC_OP_SCAN;
    default:
        return SC_OP_SYNC;
    }
}

/* The only operation that a name of six letters can be. */
static enum sc_op guess_of_six(const char *name)
{
    if (name[0] != 'x') {
        return name[0] == 'e'   ? SC_OP_EXISTS
               : name[0] == 'b' ? SC_OP_BACKUP
               : name[0] == 'd' ? SC_OP_DAMAGE
                                : SC_OP_CONFIG;
    }
    switch (name[2]) {
    case 'j':
        return SC_OP_X_JOIN;
    case 'd':
        return SC_OP_X_DROP;
    case 'r':
        return SC_OP_X_READ;
    case 'p':
        return name[3] == 'a' ? SC_OP_X_PAGE : SC_OP_X_PEEK;
    default:
        return name[3] == 'c' ? SC_OP_X_SCAN : SC_OP_X_SEAL;
    }
}

/* The only operation that a name of seven letters can be. */
static enum sc_op guess_of_seven(const char *name)
{
    if (name[0] != 'x') {
        return SC_OP_COMPACT;
    }
    switch (name[2]) {
    case 'h':
        return SC_OP_X_HELLO;
    case 'a':
        return SC_OP_X_ADOPT;
    case 'g':
        return SC_OP_X_GRANT;
    case 'm':
        return SC_OP_X_MERGE;
    case 'w':
        return SC_OP_X_WRITE;
    default:
        return SC_OP_X_SLOTS;
    }
}

/* The only operation that a name of eight letters can be. */
static enum sc_op guess_of_eight(const char *name)
{
    if (name[0] != 'x') {
        return SC_OP_SNAPSHOT;
    }
    return name[2] == 'i'   ? SC_OP_X_IMPORT
           : name[2] == 'e' ? SC_OP_X_EXPORT
           : name[2] == 'b' ? SC_OP_X_BACKUP
           : name[3] == 'i' ? SC_OP_X_FINISH
                            : SC_OP_X_FORGET;
}

/* The only operation that a name of this length and these letters can be. */
static enum sc_op guess_op(const char *name, size_t size)
{
    switch (size) {
    case 3:
        return name[0] == 'g'   ? SC_OP_GET
               : name[0] == 'p' ? SC_OP_PUT
               : name[0] == 'd' ? SC_OP_DEL
                                : SC_OP_MAP;
    case 4:
        return guess_of_four(name[1]);
    case 5:
        return name[0] == 'b'   ? SC_OP_BATCH
               : name[0] == 't' ? SC_OP_TOUCH
               : name[1] == 't' ? SC_OP_STATS
               : name[0] == 's' ? SC_OP_SCRUB
               : name[1] == 'o' ? SC_OP_COUNT
                                : SC_OP_CLEAR;
    case 6:
        return guess_of_six(name);
    case 7:
        return guess_of_seven(name);
    case 8:
        return guess_of_eight(name);
    case 9:
        return name[0] == 's'   ? SC_OP_SHARD_ADD
               : name[0] == 'x' ? SC_OP_X_RELEASE
                                : SC_OP_REBALANCE;
    case 10:
        return name[2] == 's' ? SC_OP_X_SNAPSHOT : SC_OP_X_PROGRESS;
    case 12:
        return name[6] == 'w' ? SC_OP_SHARD_WEIGHT : SC_OP_SHARD_REMOVE;
    case 13:
        return SC_OP_SNAPSHOT_READ;
    case 14:
        return SC_OP_SNAPSHOT_CLOSE;
    default:
        return SC_OP_NONE;
    }
}

static enum sc_op find_op(struct sc_slice name)
{
    enum sc_op op = guess_op(name.data, name.size);
    bool found = op != SC_OP_NONE && memcmp(ops[op].name, name.data, name.size) == 0;
    return found ? op : SC_OP_NONE;
}

/* ---- Saying what is wrong ---- */

#define QUOTE_MAX 32

/* Text from outside, fit to be shown: cut if it is long, with ? for what cannot be printed. */
struct quote {
    char text[QUOTE_MAX + sizeof "..."];
};

static struct quote quote(struct sc_slice text)
{
    struct quote quote = {0};
    const unsigned char *from = text.data;
    size_t size = text.size < QUOTE_MAX ? text.size : QUOTE_MAX;
    for (size_t i = 0; i < size; i++) {
        quote.text[i] = isprint(from[i]) ? (char)from[i] : '?';
    }
    if (size < text.size) {
        memcpy(quote.text + size, "...", 3);
    }
    return quote;
}

static enum sc_status bad(const struct sc_msg_request *request, char *why, const char *expected)
{
    return sc_fail(why, SC_BADREQUEST, "%s: %s", ops[request->op].name, expected);
}

static enum sc_status unknown_op(struct sc_slice name, char *why)
{
    return sc_fail(why, SC_BADREQUEST, "the operation \"%s\" is not known", quote(name).text);
}

static enum sc_status wrong_arity(enum sc_op op, uint32_t arguments, char *why)
{
    const struct op_info *info = &ops[op];
    if (info->most == 0) {
        return sc_fail(why, SC_BADREQUEST, "%s takes no arguments, not %u", info->name, arguments);
    }
    if (info->least == info->most) {
        return sc_fail(why, SC_BADREQUEST, "%s takes %u argument%s, not %u", info->name,
                       info->least, info->least == 1 ? "" : "s", arguments);
    }
    return sc_fail(why, SC_BADREQUEST, "%s takes %u to %u arguments, not %u", info->name,
                   info->least, info->most, arguments);
}

/* ---- Options ---- */

enum option {
    OPTION_TTL_MS,
    OPTION_EXPIRES_MS,
    OPTION_IF_VERSION,
    OPTION_SYNC,
    OPTION_PREFIX,
    OPTION_LIMIT,
    OPTION_VALUES,
    OPTION_PAUSE,
    OPTION_CANCEL,
    OPTION_BYTES_PER_SECOND,
    OPTION_WEIGHT,
    OPTION_DIR,
    OPTION_COPY,
    OPTION_DRY_RUN,
    OPTION_NONE
};

static const struct {
    const char *name;
    const char *expected;
} options[OPTION_NONE] = {
    [OPTION_TTL_MS] = {"ttl_ms", "a whole number from 1 to 3155760000000"},
    [OPTION_EXPIRES_MS] = {"expires_ms", "a whole number from 1, milliseconds since 1970"},
    [OPTION_IF_VERSION] = {"if_version", "a whole number, 0 for \"only if absent\""},
    [OPTION_SYNC] = {"sync", "true or false"},
    [OPTION_PREFIX] = {"prefix", "a str or bin of at most 65535 bytes"},
    [OPTION_LIMIT] = {"limit", "a whole number from 1 to 10000"},
    [OPTION_VALUES] = {"values", "true or false"},
    [OPTION_PAUSE] = {"pause", "true or false"},
    [OPTION_CANCEL] = {"cancel", "true if it is given"},
    [OPTION_BYTES_PER_SECOND] = {"bytes_per_second", "a whole number, 0 for no limit"},
    [OPTION_WEIGHT] = {"weight", "a whole number from 1 to 1000000"},
    [OPTION_DIR] = {"dir", "a str, the absolute path of a directory"},
    [OPTION_COPY] = {"copy", "true or false"},
    [OPTION_DRY_RUN] = {"dry_run", "true or false"},
};

#define BIT(option) (1u << (option))

/* The options of an operation as bits. */
static unsigned options_of(enum sc_op op)
{
    switch (op) {
    case SC_OP_PUT:
        return BIT(OPTION_TTL_MS) | BIT(OPTION_EXPIRES_MS) | BIT(OPTION_IF_VERSION) |
               BIT(OPTION_SYNC);
    case SC_OP_DEL:
        return BIT(OPTION_IF_VERSION);
    case SC_OP_SCAN:
    case SC_OP_X_SCAN:
        return BIT(OPTION_PREFIX) | BIT(OPTION_LIMIT) | BIT(OPTION_VALUES);
    case SC_OP_SHARD_ADD:
        return BIT(OPTION_WEIGHT) | BIT(OPTION_DRY_RUN);
    case SC_OP_SHARD_REMOVE:
    case SC_OP_SHARD_WEIGHT:
        return BIT(OPTION_DRY_RUN);
    case SC_OP_BACKUP:
        return BIT(OPTION_DIR) | BIT(OPTION_COPY) | BIT(OPTION_BYTES_PER_SECOND) |
               BIT(OPTION_CANCEL);
    default:
        return BIT(OPTION_PAUSE) | BIT(OPTION_CANCEL) | BIT(OPTION_BYTES_PER_SECOND) |
               BIT(OPTION_DRY_RUN);
    }
}

static enum option find_option(struct sc_slice name, unsigned allowed)
{
    for (enum option i = 0; i < OPTION_NONE; i++) {
        if ((allowed & BIT(i)) != 0 && sc_slice_equal(name, sc_slice_str(options[i].name))) {
            return i;
        }
    }
    return OPTION_NONE;
}

/* "put: the option "x" is not known; known are a, b and c" */
static enum sc_status unknown_option(enum sc_op op, struct sc_slice name, char *why)
{
    unsigned allowed = options_of(op);
    char known[80];
    size_t used = 0;
    for (enum option i = 0; i < OPTION_NONE; i++) {
        if ((allowed & BIT(i)) == 0) {
            continue;
        }
        bool last = allowed >> i == 1;
        const char *link = used == 0 ? "" : last ? " and " : ", ";
        int size = snprintf(known + used, sizeof known - used, "%s%s", link, options[i].name);
        used += (size_t)size;
        assert(used < sizeof known);
    }
    bool several = (allowed & (allowed - 1)) != 0;
    return sc_fail(why, SC_BADREQUEST, "%s: the option \"%s\" is not known; known %s %s",
                   ops[op].name, quote(name).text, several ? "are" : "is", known);
}

static bool read_ttl(struct sc_mp *mp, uint64_t *ttl_ms)
{
    return sc_mp_uint(mp, ttl_ms) && *ttl_ms >= 1 && *ttl_ms <= SC_TTL_MS_MAX;
}

/* A whole number from 1 to `most`. */
static bool read_count(struct sc_mp *mp, uint32_t most, uint32_t *count)
{
    uint64_t number;
    if (!sc_mp_uint(mp, &number) || number < 1 || number > most) {
        return false;
    }
    *count = (uint32_t)number;
    return true;
}

/* Whether to copy everything, which is not to link. */
static bool read_copy(struct sc_mp *mp, bool *link)
{
    bool copy;
    if (!sc_mp_bool(mp, &copy)) {
        return false;
    }
    *link = !copy;
    return true;
}

/* Reads the value of one option into its members; false when it is not what it should be. */
static bool read_option(struct sc_mp *mp, enum option option, struct sc_msg_request *request)
{
    struct sc_msg_write_options *write = &request->options;
    switch (option) {
    case OPTION_TTL_MS:
        write->has_ttl = true;
        return read_ttl(mp, &write->ttl_ms);
    case OPTION_EXPIRES_MS:
        write->has_expires = true;
        return sc_mp_uint(mp, &write->expires_ms) && write->expires_ms >= 1;
    case OPTION_IF_VERSION:
        write->has_if_version = true;
        return sc_mp_uint(mp, &write->if_version);
    case OPTION_SYNC:
        write->has_sync = true;
        return sc_mp_bool(mp, &write->sync);
    case OPTION_PREFIX:
        return sc_mp_bytes(mp, &request->scan.prefix) && request->scan.prefix.size <= SC_KEY_MAX;
    case OPTION_LIMIT:
        return read_count(mp, SC_SCAN_LIMIT_MAX, &request->scan.limit);
    case OPTION_VALUES:
        return sc_mp_bool(mp, &request->scan.values);
    case OPTION_PAUSE:
        request->has_pause = true;
        return sc_mp_bool(mp, &request->pause);
    case OPTION_CANCEL:
        return sc_mp_bool(mp, &request->cancel) && request->cancel;
    case OPTION_BYTES_PER_SECOND:
        request->has_rate = true;
        return sc_mp_uint(mp, &request->bytes_per_second);
    case OPTION_WEIGHT:
        return read_count(mp, SC_WEIGHT_MAX, &request->weight);
    case OPTION_DIR:
        return sc_mp_str(mp, &request->copy.dir) && sc_msg_dir_ok(request->copy.dir);
    case OPTION_COPY:
        return read_copy(mp, &request->copy.link);
    case OPTION_DRY_RUN:
        return sc_mp_bool(mp, &request->dry_run);
    case OPTION_NONE:
        break;
    }
    return false;
}

static enum sc_status parse_options(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    const char *op = ops[request->op].name;
    unsigned unused = options_of(request->op);
    uint32_t pairs;
    if (!sc_mp_map(mp, &pairs)) {
        return bad(request, why, "the options must be a map, or be left out");
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct sc_slice name;
        if (!sc_mp_str(mp, &name)) {
            return bad(request, why, "the name of an option must be a str");
        }
        enum option option = find_option(name, options_of(request->op));
        if (option == OPTION_NONE) {
            return unknown_option(request->op, name, why);
        }
        if ((unused & BIT(option)) == 0) {
            return sc_fail(why, SC_BADREQUEST, "%s: the option \"%s\" is given twice", op,
                           options[option].name);
        }
        unused &= ~BIT(option);
        if (!read_option(mp, option, request)) {
            return sc_fail(why, SC_BADREQUEST, "%s: the option \"%s\" must be %s", op,
                           options[option].name, options[option].expected);
        }
    }
    return SC_OK;
}

/* ---- Arguments of single-key operations ---- */

static enum sc_status parse_key(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    const uint8_t *start = mp->at;
    if (!sc_mp_bytes(mp, &request->key)) {
        return bad(request, why, "the key must be a str or bin, and whole");
    }
    request->key_raw = sc_slice(start, (size_t)(mp->at - start));
    if (request->key.size == 0) {
        return bad(request, why, "the key is empty; a key has 1 to 65535 bytes");
    }
    if (request->key.size > SC_KEY_MAX) {
        return sc_fail(why, SC_TOOLARGE, "%s: the key has %zu bytes; a key has at most %u",
                       ops[request->op].name, request->key.size, SC_KEY_MAX);
    }
    return SC_OK;
}

static enum sc_status parse_value(struct sc_mp *mp, const struct sc_msg_limits *limits,
                                  struct sc_msg_request *request, char *why)
{
    struct sc_mp start = *mp;
    if (!sc_mp_value(mp, &request->value)) {
        return bad(request, why,
                   sc_mp_skip(&start, NULL) ? "the value is nested more than 128 deep"
                                            : "the value is cut off or not msgpack");
    }
    if (request->value.size > limits->value_max) {
        return sc_fail(why, SC_TOOLARGE, "%s: the value has %zu bytes; the limit here is %u",
                       ops[request->op].name, request->value.size, limits->value_max);
    }
    return SC_OK;
}

static enum sc_status parse_ttl(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    if (sc_mp_peek(mp) == SC_MP_NIL) {
        request->ttl_nil = true;
        (void)sc_mp_nil(mp);
        return SC_OK;
    }
    request->options.has_ttl = true;
    if (!read_ttl(mp, &request->options.ttl_ms)) {
        return bad(request, why,
                   "the time to live must be nil or a whole number from 1 to 3155760000000 (ms)");
    }
    return SC_OK;
}

static enum sc_status parse_delta(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    return sc_mp_int(mp, &request->delta)
               ? SC_OK
               : bad(request, why, "the delta must be a whole number within int64");
}

static enum sc_status parse_put_options(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    enum sc_status status = parse_options(mp, request, why);
    if (status == SC_OK && request->options.has_ttl && request->options.has_expires) {
        return bad(request, why, "ttl_ms and expires_ms exclude each other");
    }
    return status;
}

/* Parses what follows the name of a single-key operation: its key and `more` other arguments. */
static enum sc_status parse_single(struct sc_mp *mp, uint32_t more,
                                   const struct sc_msg_limits *limits,
                                   struct sc_msg_request *request, char *why)
{
    request->value = sc_slice(NULL, 0);
    request->options = (struct sc_msg_write_options){0};
    request->ttl_nil = false;
    request->delta = 1;
    enum sc_status status = parse_key(mp, request, why);
    if (status != SC_OK || more == 0) {
        return status;
    }
    switch (request->op) {
    case SC_OP_PUT:
        status = parse_value(mp, limits, request, why);
        return status == SC_OK && more > 1 ? parse_put_options(mp, request, why) : status;
    case SC_OP_TOUCH:
        return parse_ttl(mp, request, why);
    case SC_OP_INCR:
        return parse_delta(mp, request, why);
    default:
        return parse_options(mp, request, why); /* del */
    }
}

/* ---- Arguments of the other operations ---- */

static enum sc_status parse_items(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    request->items = *mp;
    if (!sc_mp_array(&request->items, &request->item_count)) {
        return bad(request, why, "the argument must be an array");
    }
    return sc_mp_skip(mp, NULL) ? SC_OK : bad(request, why, "the array is cut off or not msgpack");
}

static enum sc_status parse_scan(struct sc_mp *mp, uint32_t arguments,
                                 struct sc_msg_request *request, char *why)
{
    struct sc_msg_scan *scan = &request->scan;
    *scan = (struct sc_msg_scan){.limit = SC_SCAN_LIMIT_DEFAULT, .last_slot = SC_SLOT_COUNT - 1};
    if (sc_mp_peek(mp) == SC_MP_NIL) {
        (void)sc_mp_nil(mp);
    } else if (!sc_mp_bytes(mp, &scan->cursor) || scan->cursor.size == 0) {
        return bad(request, why, "the cursor must be nil at first, then what the last page gave");
    }
    enum sc_status status = arguments > 1 ? parse_options(mp, request, why) : SC_OK;
    if (status == SC_OK && request->op == SC_OP_X_SCAN) {
        uint64_t last_slot;
        if (!sc_mp_uint(mp, &last_slot) || last_slot >= SC_SLOT_COUNT) {
            return bad(request, why, "the last slot must be a whole number below 16384");
        }
        scan->last_slot = (uint32_t)last_slot;
    }
    return status;
}

static enum sc_status parse_url(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    if (!sc_mp_str(mp, &request->url) || request->url.size == 0 || request->url.size > SC_URL_MAX ||
        memchr(request->url.data, '\0', request->url.size) != NULL) {
        return bad(request, why,
                   "the address must be a str like tcp://host:port, at most 255 long");
    }
    return SC_OK;
}

static enum sc_status parse_shard_add(struct sc_mp *mp, uint32_t arguments,
                                      struct sc_msg_request *request, char *why)
{
    request->weight = SC_WEIGHT_DEFAULT;
    request->dry_run = false;
    enum sc_status status = parse_url(mp, request, why);
    return status == SC_OK && arguments > 1 ? parse_options(mp, request, why) : status;
}

static enum sc_status parse_shard_id(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    return sc_mp_uint(mp, &request->shard_id)
               ? SC_OK
               : bad(request, why, "the shard's id must be a whole number");
}

static enum sc_status parse_shard_remove(struct sc_mp *mp, uint32_t arguments,
                                         struct sc_msg_request *request, char *why)
{
    request->dry_run = false;
    enum sc_status status = parse_shard_id(mp, request, why);
    return status == SC_OK && arguments > 1 ? parse_options(mp, request, why) : status;
}

static enum sc_status parse_shard_weight(struct sc_mp *mp, uint32_t arguments,
                                         struct sc_msg_request *request, char *why)
{
    request->dry_run = false;
    enum sc_status status = parse_shard_id(mp, request, why);
    if (status == SC_OK && !read_count(mp, SC_WEIGHT_MAX, &request->weight)) {
        status = bad(request, why, "the weight must be a whole number from 1 to 1000000");
    }
    return status == SC_OK && arguments > 2 ? parse_options(mp, request, why) : status;
}

static enum sc_status parse_cluster(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    if (!sc_mp_bytes(mp, &request->cluster) || request->cluster.size != CLUSTER_ID_SIZE) {
        return bad(request, why, "the cluster's id must have 16 bytes");
    }
    return parse_shard_id(mp, request, why);
}

/* [[first, last, shard id, address]...]: slots in ascending order, not overlapping. */
static bool read_ranges(struct sc_mp *mp)
{
    uint32_t count;
    uint64_t next = 0; /* the least that the next range may begin with */
    if (!sc_mp_array(mp, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t members;
        uint64_t first, last, shard_id;
        struct sc_slice url;
        if (!sc_mp_array(mp, &members) || members != 4 || !sc_mp_uint(mp, &first) ||
            !sc_mp_uint(mp, &last) || !sc_mp_uint(mp, &shard_id) || !sc_mp_str(mp, &url)) {
            return false;
        }
        if (first < next || last < first || last >= SC_SLOT_COUNT || url.size > SC_URL_MAX) {
            return false;
        }
        next = last + 1;
    }
    return true;
}

static enum sc_status parse_grant(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    enum sc_status status = parse_cluster(mp, request, why);
    if (status != SC_OK) {
        return status;
    }
    if (!sc_mp_uint(mp, &request->term) || !sc_mp_uint(mp, &request->epoch)) {
        return bad(request, why, "term and epoch must be whole numbers");
    }
    request->ranges = *mp;
    return read_ranges(mp)
               ? SC_OK
               : bad(request, why, "the ranges must be [[first, last, shard id, address]...]");
}

static enum sc_status parse_rebalance(struct sc_mp *mp, uint32_t arguments,
                                      struct sc_msg_request *request, char *why)
{
    request->has_pause = request->pause = request->cancel = request->has_rate = false;
    request->dry_run = false;
    request->bytes_per_second = 0;
    return arguments > 0 ? parse_options(mp, request, why) : SC_OK;
}

static enum sc_status parse_backup(struct sc_mp *mp, uint32_t arguments,
                                   struct sc_msg_request *request, char *why)
{
    request->copy = (struct sc_msg_copy){.link = true};
    request->cancel = request->has_rate = false;
    request->bytes_per_second = SC_MSG_BACKUP_RATE_DEFAULT;
    return arguments > 0 ? parse_options(mp, request, why) : SC_OK;
}

/* ---- Whole requests ---- */

static enum sc_status parse_arguments(struct sc_mp *mp, uint32_t arguments,
                                      const struct sc_msg_limits *limits,
                                      struct sc_msg_request *request, char *why)
{
    unsigned kind = ops[request->op].kind;
    if ((kind & SC_OP_SINGLE) != 0) {
        return parse_single(mp, arguments - 1, limits, request, why);
    }
    if ((kind & SC_OP_MULTI) != 0) {
        return parse_items(mp, request, why);
    }
    switch (request->op) {
    case SC_OP_SCAN:
    case SC_OP_X_SCAN:
        return parse_scan(mp, arguments, request, why);
    case SC_OP_SHARD_ADD:
        return parse_shard_add(mp, arguments, request, why);
    case SC_OP_SHARD_REMOVE:
        return parse_shard_remove(mp, arguments, request, why);
    case SC_OP_SHARD_WEIGHT:
        return parse_shard_weight(mp, arguments, request, why);
    case SC_OP_CONFIG:
        request->config = sc_config_defaults();
        return arguments > 0 ? sc_config_parse(mp, &request->config, why) : SC_OK;
    case SC_OP_X_MERGE:
        return sc_mp_bool(mp, &request->allow) ? SC_OK : bad(request, why, "allow must be a bool");
    case SC_OP_REBALANCE:
        return parse_rebalance(mp, arguments, request, why);
    case SC_OP_X_ADOPT:
        return parse_cluster(mp, request, why);
    case SC_OP_X_GRANT:
        return parse_grant(mp, request, why);
    case SC_OP_X_IMPORT:
    case SC_OP_X_WRITE:
    case SC_OP_X_FINISH:
    case SC_OP_X_DROP:
    case SC_OP_X_EXPORT:
    case SC_OP_X_READ:
    case SC_OP_X_SEAL:
    case SC_OP_X_RELEASE:
        return sc_msg_parse_move(mp, request, why);
    case SC_OP_SNAPSHOT_READ:
    case SC_OP_SNAPSHOT_CLOSE:
    case SC_OP_X_SNAPSHOT:
    case SC_OP_X_PAGE:
    case SC_OP_X_FORGET:
    case SC_OP_X_BACKUP:
    case SC_OP_X_PROGRESS:
        return sc_msg_parse_copy(mp, request, why);
    case SC_OP_BACKUP:
        return parse_backup(mp, arguments, request, why);
    default:
        assert(arguments == 0);
        return SC_OK;
    }
}

/* Parses one request at the cursor and leaves the cursor behind it. */
static enum sc_status parse(struct sc_mp *mp, const struct sc_msg_limits *limits,
                            struct sc_msg_request *request, char *why)
{
    uint32_t count;
    struct sc_slice name;
    request->op = SC_OP_NONE;
    if (!sc_mp_array(mp, &count) || count == 0 || !sc_mp_str(mp, &name)) {
        return sc_fail(why, SC_BADREQUEST, "a request must be an array [operation, argument...]");
    }
    request->op = find_op(name);
    if (request->op == SC_OP_NONE) {
        return unknown_op(name, why);
    }
    uint32_t arguments = count - 1;
    if (arguments < ops[request->op].least || arguments > ops[request->op].most) {
        return wrong_arity(request->op, arguments, why);
    }
    return parse_arguments(mp, arguments, limits, request, why);
}

enum sc_status sc_msg_parse_request(struct sc_slice body, const struct sc_msg_limits *limits,
                                    struct sc_msg_request *request, char *why)
{
    struct sc_mp mp = sc_mp(body);
    request->raw = body;
    enum sc_status status = parse(&mp, limits, request, why);
    if (status == SC_OK && mp.at != mp.end) {
        return sc_fail(why, SC_BADREQUEST, "%s: %zu bytes too many follow the request",
                       ops[request->op].name, (size_t)(mp.end - mp.at));
    }
    return status;
}

/* An item of mput: [key, value, {options}?]. */
static enum sc_status parse_pair(struct sc_mp *mp, const struct sc_msg_limits *limits,
                                 struct sc_msg_request *item, char *why)
{
    uint32_t count;
    if (!sc_mp_array(mp, &count) || count < 2 || count > 3) {
        return sc_fail(why, SC_BADREQUEST,
                       "mput: an item must be [key, value] or "
                       "[key, value, {options}]");
    }
    return parse_single(mp, count - 1, limits, item, why);
}

static enum sc_status parse_item(struct sc_mp *mp, enum sc_op list,
                                 const struct sc_msg_limits *limits, struct sc_msg_request *item,
                                 char *why)
{
    switch (list) {
    case SC_OP_MGET:
        item->op = SC_OP_GET;
        return parse_single(mp, 0, limits, item, why);
    case SC_OP_MDEL:
        item->op = SC_OP_DEL;
        return parse_single(mp, 0, limits, item, why);
    case SC_OP_MPUT:
        item->op = SC_OP_PUT;
        return parse_pair(mp, limits, item, why);
    default:
        break;
    }
    enum sc_status status = parse(mp, limits, item, why);
    if (status == SC_OK && (ops[item->op].kind & SC_OP_SINGLE) == 0) {
        return sc_fail(why, SC_BADREQUEST, "%s cannot stand in a batch: it is not about one key",
                       ops[item->op].name);
    }
    return status;
}

enum sc_status sc_msg_next_item(struct sc_msg_request *request, const struct sc_msg_limits *limits,
                                struct sc_msg_request *item, char *why)
{
    assert((ops[request->op].kind & SC_OP_MULTI) != 0 && !sc_mp_failed(&request->items));
    struct sc_mp start = request->items;
    enum sc_status status = parse_item(&request->items, request->op, limits, item, why);
    if (status != SC_OK) {
        /* However far that came: go on behind the item. */
        request->items = start;
        bool whole = sc_mp_skip(&request->items, NULL);
        assert(whole); /* parse_items has seen to it, and nobody asks for more than item_count */
        (void)whole;
    }
    item->raw = sc_slice(start.at, (size_t)(request->items.at - start.at));
    return status;
}

bool sc_msg_has_write(const struct sc_msg_request *request)
{
    if (request->op != SC_OP_BATCH) {
        return (ops[request->op].kind & SC_OP_WRITE) != 0;
    }
    struct sc_mp items = request->items;
    for (uint32_t i = 0; i < request->item_count; i++) {
        struct sc_mp item = items;
        uint32_t count;
        struct sc_slice name;
        bool named = sc_mp_array(&item, &count) && count > 0 && sc_mp_str(&item, &name);
        enum sc_op op = named ? find_op(name) : SC_OP_NONE;
        if (op != SC_OP_NONE && (ops[op].kind & SC_OP_WRITE) != 0) {
            return true;
        }
        (void)sc_mp_skip(&items, NULL);
    }
    return false;
}

/* ---- Replies ---- */

bool sc_msg_parse_reply(struct sc_slice body, struct sc_msg_reply *reply)
{
    struct sc_mp mp = sc_mp(body);
    uint32_t count;
    uint64_t status;
    if (!sc_mp_array(&mp, &count) || count == 0 || !sc_mp_uint(&mp, &status) ||
        status > SC_MSG_AGAIN) {
        return false;
    }
    struct sc_slice why = {NULL, 0};
    uint32_t results = count - 1;
    if (status != SC_OK && results > 0) {
        if (!sc_mp_str(&mp, &why)) {
            return false;
        }
        results--;
    }
    *reply = (struct sc_msg_reply){(int)status, why, mp, results};
    return true;
}

bool sc_msg_parse_page(const struct sc_msg_reply *reply, struct sc_msg_page *page)
{
    struct sc_mp mp = reply->result;
    *page = (struct sc_msg_page){0};
    if (reply->results != 2) {
        return false;
    }
    bool last = sc_mp_peek(&mp) == SC_MP_NIL;
    if (last ? !sc_mp_nil(&mp) : !sc_mp_bytes(&mp, &page->next) || page->next.size == 0) {
        return false;
    }
    if (!sc_mp_array(&mp, &page->count)) {
        return false;
    }
    page->items = mp;
    return true;
}
