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

/* What a shard says of itself. */
struct identity {
    bool adopted;
    struct sc_slice cluster;
    uint64_t shard;
    uint64_t keys;
    uint64_t clock_ms;
};

static bool parse_member(struct sc_mp *mp, struct sc_slice name, struct identity *identity)
{
    if (sc_slice_equal(name, sc_slice_str("adopted"))) {
        return sc_mp_bool(mp, &identity->adopted);
    }
    if (sc_slice_equal(name, sc_slice_str("cluster"))) {
        return sc_mp_bytes(mp, &identity->cluster);
    }
    if (sc_slice_equal(name, sc_slice_str("shard"))) {
        return sc_mp_uint(mp, &identity->shard);
    }
    if (sc_slice_equal(name, sc_slice_str("keys"))) {
        return sc_mp_uint(mp, &identity->keys);
    }
    if (sc_slice_equal(name, sc_slice_str("clock_ms"))) {
        return sc_mp_uint(mp, &identity->clock_ms);
    }
    return sc_mp_skip(mp, NULL); /* of a later version */
}

static bool parse_identity(struct sc_mp *mp, struct identity *identity)
{
    uint32_t pairs = 0;
    if (!sc_mp_map(mp, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct sc_slice name;
        if (!sc_mp_str(mp, &name) || !parse_member(mp, name, identity)) {
            return false;
        }
    }
    return true;
}

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
                                                   uint32_t shard_id, struct sc_msg_reply *reply,
                                                   uint64_t *clock_ms, char *why)
{
    struct identity identity = {0};
    if (!parse_identity(&reply->result, &identity)) {
        return refuse(why, "what answers there is no shardcask shard");
    }
    *clock_ms = identity.clock_ms;
    if (!identity.adopted && sc_introduction_is_adopted(cluster, shard_id)) {
        return refuse(why, "its directory is empty, but this shard has data: start it on its own "
                           "directory");
    }
    if (!identity.adopted && identity.keys > 0) {
        return refuse(why, "its directory holds keys of no cluster: start it on an empty one");
    }
    if (!identity.adopted) {
        return SC_INTRODUCTION_ADOPT;
    }
    if (!sc_slice_equal(identity.cluster, sc_slice(cluster->id, sizeof cluster->id))) {
        return refuse(why,
                      "its directory belongs to another cluster: start it on its own directory");
    }
    if (identity.shard != shard_id) {
        sc_why(why, "its directory is that of shard %" PRIu64 ": start it on its own directory",
               identity.shard);
        return SC_INTRODUCTION_REFUSE;
    }
    return SC_INTRODUCTION_KNOWN;
}
