#include "tools/bench_load.h"

#include "common/msg.h"

#include <assert.h>
#include <stdlib.h>

/* xorshift64*: cheap, and good enough to choose keys. */
static uint64_t next_random(struct sc_bench_load *load)
{
    load->random ^= load->random >> 12;
    load->random ^= load->random << 25;
    load->random ^= load->random >> 27;
    return load->random * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t random_below(struct sc_bench_load *load, uint64_t limit)
{
    return (next_random(load) >> 8) % limit;
}

void sc_bench_load_init(struct sc_bench_load *load, const struct sc_bench_run *run, uint64_t seed)
{
    const struct sc_bench_options *options = run->options;
    *load = (struct sc_bench_load){
        .run = run,
        .random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15),
        .ops = sc_calloc(options->batch, sizeof *load->ops),
        .count = options->batch,
        .keys = sc_alloc(options->batch * options->key_size),
    };
    /* Bytes that do not compress, in case somebody does. */
    struct sc_buf bytes = {0};
    while (bytes.size < options->value_size) {
        uint64_t random = next_random(load);
        size_t left = (size_t)options->value_size - bytes.size;
        sc_buf_append(&bytes, &random, left < sizeof random ? left : sizeof random);
    }
    sc_mp_put_bin(&load->value, sc_buf_slice(&bytes));
    sc_buf_fini(&bytes);
}

void sc_bench_load_fini(struct sc_bench_load *load)
{
    for (uint64_t i = 0; i < load->run->options->batch; i++) {
        shardcask_op_clear(&load->ops[i]);
    }
    free(load->ops);
    free(load->keys);
    sc_buf_fini(&load->value);
}

/* A letter and the number, with zeros between them to make up the size. */
static void write_key(char *key, uint64_t size, char letter, uint64_t number)
{
    key[0] = letter;
    for (uint64_t i = size - 1; i > 0; i--) {
        key[i] = (char)('0' + number % 10);
        number /= 10;
    }
}

static enum shardcask_op_kind choose_kind(struct sc_bench_load *load)
{
    const struct sc_bench_options *options = load->run->options;
    switch (load->run->workload) {
    case SC_BENCH_PUT:
    case SC_BENCH_MPUT:
        return SHARDCASK_OP_PUT;
    case SC_BENCH_INCR:
        return SHARDCASK_OP_INCR;
    case SC_BENCH_MIXED:
        return random_below(load, options->gets + options->puts) < options->gets ? SHARDCASK_OP_GET
                                                                                 : SHARDCASK_OP_PUT;
    default:
        return SHARDCASK_OP_GET;
    }
}

static void set_op(struct sc_bench_load *load, size_t index, enum shardcask_op_kind kind,
                   uint64_t number)
{
    const struct sc_bench_options *options = load->run->options;
    struct shardcask_op *op = &load->ops[index];
    char *key = load->keys + index * options->key_size;
    /* Counters have keys of their own: an increment of a value is an error. */
    write_key(key, options->key_size, kind == SHARDCASK_OP_INCR ? 'n' : 'k', number);
    op->kind = kind;
    op->key = key;
    op->key_size = (size_t)options->key_size;
    op->value = load->value.data;
    op->value_size = load->value.size;
    op->delta = 1;
    op->options.flags = kind == SHARDCASK_OP_PUT ? options->sync : 0;
}

void sc_bench_load_keep_to(struct sc_bench_load *load, const struct sc_clustermap *map,
                           uint16_t shard)
{
    load->map = map;
    load->shard = shard;
}

/* With few keys a shard may have none: then any will do, which it refuses. */
#define SEARCH_MAX 100000

static bool is_elsewhere(const struct sc_bench_load *load, size_t index)
{
    const struct shardcask_op *op = &load->ops[index];
    return load->map != NULL &&
           load->map->owner[sc_slot_of_key(sc_slice(op->key, op->key_size))] != load->shard;
}

void sc_bench_load_next(struct sc_bench_load *load)
{
    load->count = (size_t)load->run->options->batch;
    for (size_t i = 0; i < load->count; i++) {
        enum shardcask_op_kind kind = choose_kind(load);
        set_op(load, i, kind, random_below(load, load->run->options->keys));
        for (int tries = 0; is_elsewhere(load, i) && tries < SEARCH_MAX; tries++) {
            set_op(load, i, kind, random_below(load, load->run->options->keys));
        }
    }
}

void sc_bench_load_fill(struct sc_bench_load *load, uint64_t first)
{
    uint64_t left = load->run->options->keys - first;
    uint64_t batch = load->run->options->batch;
    load->count = (size_t)(left < batch ? left : batch);
    for (size_t i = 0; i < load->count; i++) {
        set_op(load, i, SHARDCASK_OP_PUT, first + i);
    }
}

/* ---- On the wire ---- */

static void encode_op(const struct shardcask_op *op, struct sc_buf *out)
{
    struct sc_slice key = sc_slice(op->key, op->key_size);
    struct sc_msg_write_options options = {.has_sync = op->options.flags != 0,
                                           .sync = op->options.flags == SHARDCASK_SYNC};
    switch (op->kind) {
    case SHARDCASK_OP_PUT:
        sc_msg_put_put(out, key, sc_slice(op->value, op->value_size), &options);
        break;
    case SHARDCASK_OP_INCR:
        sc_msg_put_incr(out, key, op->delta);
        break;
    default:
        sc_msg_put_key_request(out, SC_OP_GET, key);
        break;
    }
}

/* mput's items are [key, value] and [key, value, {options}]. */
static void encode_mput_item(const struct shardcask_op *op, struct sc_buf *out)
{
    sc_mp_put_array(out, op->options.flags != 0 ? 3 : 2);
    sc_mp_put_bin(out, sc_slice(op->key, op->key_size));
    sc_buf_append(out, op->value, op->value_size);
    if (op->options.flags != 0) {
        sc_mp_put_map(out, 1);
        sc_mp_put_cstr(out, "sync");
        sc_mp_put_bool(out, op->options.flags == SHARDCASK_SYNC);
    }
}

void sc_bench_load_encode(const struct sc_bench_load *load, struct sc_buf *out)
{
    enum sc_bench_workload workload = load->run->workload;
    bool many = workload == SC_BENCH_MPUT || workload == SC_BENCH_MGET;
    if (load->run->options->batch == 1 && !many) {
        encode_op(&load->ops[0], out);
        return;
    }
    sc_msg_put_op(out,
                  workload == SC_BENCH_MPUT   ? SC_OP_MPUT
                  : workload == SC_BENCH_MGET ? SC_OP_MGET
                                              : SC_OP_BATCH,
                  1);
    sc_mp_put_array(out, (uint32_t)load->count);
    for (size_t i = 0; i < load->count; i++) {
        const struct shardcask_op *op = &load->ops[i];
        if (workload == SC_BENCH_MPUT) {
            encode_mput_item(op, out);
        } else if (workload == SC_BENCH_MGET) {
            sc_mp_put_bin(out, sc_slice(op->key, op->key_size));
        } else {
            encode_op(op, out);
        }
    }
}

/* ---- Results ---- */

static void count_value(const struct sc_bench_load *load, const struct shardcask_op *op,
                        size_t size, struct sc_bench_tally *tally)
{
    if (op->kind == SHARDCASK_OP_GET && size != load->value.size) {
        /* Left by a run with other values, unless it is worse. */
        sc_bench_error(tally, SC_INTERNAL, "a value has another size than was put");
    } else {
        tally->operations++;
    }
}

static void count_reply(const struct sc_bench_load *load, const struct shardcask_op *op,
                        struct sc_slice body, struct sc_bench_tally *tally)
{
    struct sc_msg_reply reply;
    struct sc_slice value = {0};
    if (!sc_msg_parse_reply(body, &reply) ||
        (reply.status == SC_OK && !sc_mp_skip(&reply.result, &value))) {
        sc_bench_error(tally, SC_INTERNAL, "a reply makes no sense");
    } else if (reply.status == SC_NOTFOUND) {
        tally->missing++;
        tally->operations++;
    } else if (reply.status != SC_OK) {
        char why[SC_WHY_SIZE];
        (void)sc_fail(why, SC_OK, "%.*s", (int)reply.why.size, (const char *)reply.why.data);
        sc_bench_error(tally, reply.status, why);
    } else {
        count_value(load, op, value.size, tally);
    }
}

void sc_bench_load_reply(const struct sc_bench_load *load, struct sc_slice body,
                         struct sc_bench_tally *tally)
{
    enum sc_bench_workload workload = load->run->workload;
    if (load->run->options->batch == 1 && workload != SC_BENCH_MPUT && workload != SC_BENCH_MGET) {
        count_reply(load, &load->ops[0], body, tally);
        return;
    }
    struct sc_msg_reply reply;
    uint32_t count = 0;
    if (!sc_msg_parse_reply(body, &reply) || reply.status != SC_OK ||
        !sc_mp_array(&reply.result, &count) || count != load->count) {
        count_reply(load, &load->ops[0], body, tally); /* finds words for it */
        return;
    }
    for (size_t i = 0; i < load->count; i++) {
        struct sc_slice part = {0};
        (void)sc_mp_skip(&reply.result, &part);
        count_reply(load, &load->ops[i], part, tally);
    }
}

void sc_bench_load_results(const struct sc_bench_load *load, struct sc_bench_tally *tally)
{
    for (size_t i = 0; i < load->count; i++) {
        struct shardcask_op *op = &load->ops[i];
        if (op->status == SHARDCASK_NOTFOUND) {
            tally->missing++;
            tally->operations++;
        } else if (op->status != SHARDCASK_OK) {
            sc_bench_error(tally, op->status, op->why);
        } else {
            count_value(load, op, op->result.size, tally);
        }
    }
}
