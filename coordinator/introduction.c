#include "coordinator/introduction.h"

#include <inttypes.h>

void sc_introduction_put_hello(struct sc_buf *out)
{
    sc_msg_put_op(out, SC_OP_X_HELLO, 0);
}

void sc_introduction_put_adopt(const struct sc_cluster *cluster, uint32_t shard_id,
                               struct sc_buf *out)
{
    sc_msg_put_op(out, SC_OP_X_ADOPT, 2);
    sc_mp_put_bin(out, sc_slice(cluster->id, sizeof cluster->id));
    sc_mp_put_uint(out, shard_id);
}

void sc_introduction_put_grant(const struct sc_cluster *cluster, uint32_t shard_id,
                               struct sc_buf *out)
{
    sc_msg_put_op(out, SC_OP_X_GRANT, 5);
    sc_mp_put_bin(out, sc_slice(cluster->id, sizeof cluster->id));
    sc_mp_put_uint(out, shard_id);
    sc_mp_put_uint(out, cluster->term);
    sc_mp_put_uint(out, cluster->epoch);
    sc_cluster_put_ranges(cluster, true, out);
}

/* ---- x.hello ---- */

static bool read_cluster(struct sc_mp *mp, struct sc_introduction_hello *hello)
{
    struct sc_slice id = {0};
    if (!sc_mp_bytes(mp, &id) || id.size != sizeof hello->cluster) {
        return false;
    }
    memcpy(hello->cluster, id.data, id.size);
    return true;
}

/* A move, or nil: none. */
static bool read_move(struct sc_mp *mp, uint64_t *move)
{
    *move = 0;
    return sc_mp_peek(mp) == SC_MP_NIL ? sc_mp_nil(mp) : sc_mp_uint(mp, move);
}

static bool read_member(struct sc_mp *mp, struct sc_slice name, struct sc_introduction_hello *hello)
{
    const struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {
        {"shard", &hello->shard},           {"keys", &hello->keys},
        {"bytes", &hello->bytes},           {"clock_ms", &hello->clock_ms},
        {"disk_free", &hello->disk_free},   {"memory", &hello->memory},
        {"memory_max", &hello->memory_max},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (sc_slice_equal(name, sc_slice_str(numbers[i].name))) {
            return sc_mp_uint(mp, numbers[i].number);
        }
    }
    if (sc_slice_equal(name, sc_slice_str("adopted"))) {
        return sc_mp_bool(mp, &hello->adopted);
    }
    if (sc_slice_equal(name, sc_slice_str("cluster"))) {
        return read_cluster(mp, hello);
    }
    if (sc_slice_equal(name, sc_slice_str("importing"))) {
        return read_move(mp, &hello->importing);
    }
    if (sc_slice_equal(name, sc_slice_str("exporting"))) {
        return read_move(mp, &hello->exporting);
    }
    return sc_mp_skip(mp, NULL); /* of a later version */
}

bool sc_introduction_read_hello(struct sc_msg_reply *reply, struct sc_introduction_hello *hello)
{
    struct sc_mp *mp = &reply->result;
    uint32_t pairs = 0;
    *hello = (struct sc_introduction_hello){.disk_free = UINT64_MAX};
    if (!sc_mp_map(mp, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct sc_slice name;
        if (!sc_mp_str(mp, &name) || !read_member(mp, name, hello)) {
            return false;
        }
    }
    return true;
}

/* ---- Judging ---- */

bool sc_introduction_is_adopted(const struct sc_cluster *cluster, uint32_t shard_id)
{
    for (size_t i = 0; i < cluster->shard_count; i++) {
        if (cluster->shards[i].id == shard_id) {
            return cluster->shards[i].adopted;
        }
    }
    return false;
}

static enum sc_introduction_verdict refuse(char *why, const char *reason)
{
    sc_why(why, "%s", reason);
    return SC_INTRODUCTION_REFUSE;
}

enum sc_introduction_verdict sc_introduction_judge(const struct sc_cluster *cluster,
                                                   uint32_t shard_id,
                                                   const struct sc_introduction_hello *hello,
                                                   char *why)
{
    if (!hello->adopted && sc_introduction_is_adopted(cluster, shard_id)) {
        return refuse(why, "its directory is empty, but this shard has data: start it on its own "
                           "directory");
    }
    if (!hello->adopted && hello->keys > 0) {
        return refuse(why, "its directory holds keys of no cluster: start it on an empty one");
    }
    if (!hello->adopted) {
        return SC_INTRODUCTION_ADOPT;
    }
    if (memcmp(hello->cluster, cluster->id, sizeof cluster->id) != 0) {
        return refuse(why,
                      "its directory belongs to another cluster: start it on its own directory");
    }
    if (hello->shard != shard_id) {
        sc_why(why, "its directory is that of shard %" PRIu64 ": start it on its own directory",
               hello->shard);
        return SC_INTRODUCTION_REFUSE;
    }
    return SC_INTRODUCTION_KNOWN;
}
