#include "shard/report.h"

#include "common/version.h"
#include "shard/damages.h"
#include "shard/quarantine.h"

/* Writes the members of a map whose size is counted on the way. */
struct writer {
    struct sc_buf members;
    uint32_t pairs;
};

static void number(struct writer *writer, const char *name, uint64_t value)
{
    sc_mp_put_cstr(&writer->members, name);
    sc_mp_put_uint(&writer->members, value);
    writer->pairs++;
}

static void text(struct writer *writer, const char *name, const char *value)
{
    sc_mp_put_cstr(&writer->members, name);
    sc_mp_put_cstr(&writer->members, value);
    writer->pairs++;
}

static void finish(struct writer *writer, struct sc_buf *reply)
{
    sc_mp_put_map(reply, writer->pairs);
    sc_buf_append_slice(reply, sc_buf_slice(&writer->members));
    sc_buf_fini(&writer->members);
}

static uint64_t owned_slots(const struct sc_membership *membership)
{
    uint64_t slots = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        slots += sc_membership_serves(membership, slot) ? 1 : 0;
    }
    return slots;
}

static void put_identity(struct writer *writer, const struct sc_membership *membership)
{
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(membership->store, &identity);
    text(writer, "version", SC_VERSION);
    text(writer, "role", "shard");
    number(writer, "id", identity.shard_id);
    number(writer, "epoch", membership->epoch);
    number(writer, "slots", owned_slots(membership));
    const char *failure = sc_bitcask_failed(membership->store);
    if (failure != NULL) {
        text(writer, "failure", failure);
    }
}

static void put_store(struct writer *writer, const struct sc_bitcask_stats *stats)
{
    number(writer, "keydir_bytes", stats->keydir_bytes);
    number(writer, "files", stats->files);
    number(writer, "file_bytes", stats->file_bytes);
    number(writer, "live_bytes", stats->live_bytes);
    number(writer, "dead_bytes", stats->dead_bytes);
    number(writer, "held_bytes", stats->held_bytes);
    number(writer, "tombstones", stats->tombstones);
    number(writer, "puts", stats->puts);
    number(writer, "gets", stats->gets);
    number(writer, "dels", stats->dels);
    number(writer, "hits", stats->hits);
    number(writer, "misses", stats->misses);
    number(writer, "commits", stats->commits);
    number(writer, "syncs", stats->syncs);
    number(writer, "bytes_written", stats->bytes_written);
    number(writer, "damaged_records", stats->damaged_records);
    number(writer, "damage", stats->damage);
    number(writer, "expired", stats->expired);
    number(writer, "cold_reads", stats->cold_reads);
    number(writer, "open_us", stats->open_us);
}

static void put_merge(struct writer *writer, const struct sc_upkeep *upkeep)
{
    static const char *const states[] = {
        [SC_UPKEEP_IDLE] = "idle",
        [SC_UPKEEP_WAITING] = "waiting",
        [SC_UPKEEP_MERGING] = "merging",
        [SC_UPKEEP_PAUSED] = "paused",
    };
    struct sc_upkeep_figures figures;
    sc_upkeep_figures(upkeep, &figures);
    const struct sc_merge_figures *merge = &figures.merge;
    text(writer, "merge_state", states[figures.state]);
    text(writer, "merge_error", merge->error);
    number(writer, "merge_asked", merge->asked ? 1 : 0);
    number(writer, "merge_files", merge->running ? merge->files : 0);
    number(writer, "merge_bytes", merge->running ? merge->bytes : 0);
    number(writer, "merge_bytes_done", merge->running ? merge->bytes_done : 0);
    number(writer, "merges", merge->merges);
    number(writer, "merge_failures", merge->failures);
    number(writer, "merge_read_bytes", merge->read_bytes);
    number(writer, "merge_written_bytes", merge->written_bytes);
    number(writer, "merge_reclaimed_bytes", merge->reclaimed_bytes);
    number(writer, "merge_dropped_deletions", merge->deletions_dropped);
    number(writer, "disk_bytes", figures.disk_bytes);
    number(writer, "disk_bound", figures.disk_bound);
    number(writer, "stalled_us", figures.stalled_us);
}

static void put_snapshots(struct writer *writer, const struct sc_snapshots *snapshots)
{
    struct sc_snapshots_figures figures = sc_snapshots_figures(snapshots);
    number(writer, "snapshots", figures.count);
    number(writer, "snapshot_bytes", figures.memory);
}

static void put_scrub(struct writer *writer, const struct sc_scrubber *scrubber)
{
    static const char *const states[] = {
        [SC_SCRUBBER_OFF] = "off",
        [SC_SCRUBBER_IDLE] = "idle",
        [SC_SCRUBBER_READING] = "reading",
    };
    struct sc_scrubber_figures figures;
    sc_scrubber_figures(scrubber, &figures);
    text(writer, "scrub_state", states[figures.state]);
    text(writer, "scrub_error", figures.error);
    number(writer, "scrub_asked", figures.asked ? 1 : 0);
    number(writer, "scrub_bytes", figures.pass.bytes);
    number(writer, "scrub_bytes_done", figures.pass.bytes_done);
    number(writer, "scrubs", figures.passes);
    number(writer, "scrub_began_ms", figures.pass.began_ms);
    number(writer, "scrub_ended_ms", figures.pass.ended_ms);
}

void sc_report_stats(struct sc_bitcask *store, const struct sc_membership *membership,
                     const struct sc_sp_listener_counts *connections,
                     const struct sc_upkeep *upkeep, const struct sc_snapshots *snapshots,
                     const struct sc_scrubber *scrubber, struct sc_buf *reply)
{
    struct sc_bitcask_stats stats;
    struct writer writer = {0};
    sc_bitcask_position ignored = 0; /* figures promise nothing about durability */
    put_identity(&writer, membership);
    number(&writer, "keys", sc_bitcask_count(store, membership->owned, &ignored));
    sc_bitcask_stats(store, &stats);
    put_store(&writer, &stats);
    put_merge(&writer, upkeep);
    put_snapshots(&writer, snapshots);
    put_scrub(&writer, scrubber);
    number(&writer, "connections", connections->connections);
    number(&writer, "connections_accepted", connections->accepted);
    number(&writer, "connections_refused", connections->refused);
    number(&writer, "messages", connections->requests);
    number(&writer, "bytes_in", connections->bytes_in);
    number(&writer, "bytes_out", connections->bytes_out);
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    finish(&writer, reply);
}

/* ---- Damage ---- */

static void put_damage(const struct sc_bitcask *store, const struct sc_damages_entry *entry,
                       struct sc_buf *reply)
{
    struct writer writer = {0};
    struct sc_damage damage = entry->damage;
    char file[SC_FILES_NAME_SIZE];
    char copy[SC_QUARANTINE_NAME_SIZE];
    damage.live = sc_bitcask_is_live(store, &damage);
    sc_damage_file(&damage, file);
    text(&writer, "file", file);
    number(&writer, "offset", damage.offset);
    number(&writer, "size", damage.size);
    text(&writer, "kind", sc_damage_name(damage.kind));
    if (damage.key.data != NULL) {
        sc_mp_put_cstr(&writer.members, "key");
        sc_mp_put_bin(&writer.members, damage.key);
        sc_mp_put_cstr(&writer.members, "live");
        sc_mp_put_bool(&writer.members, damage.live);
        writer.pairs += 2;
    }
    if (damage.unreadable) {
        sc_mp_put_cstr(&writer.members, "unreadable");
        sc_mp_put_bool(&writer.members, true);
        writer.pairs++;
    }
    text(&writer, "meaning", sc_damage_meaning(&damage));
    number(&writer, "found_ms", entry->found_ms);
    if (entry->kept) {
        sc_quarantine_name(&damage, copy);
        text(&writer, "copy", copy);
    }
    finish(&writer, reply);
}

void sc_report_damage(const struct sc_bitcask *store, struct sc_buf *reply)
{
    const struct sc_damages *damages = sc_bitcask_damages(store);
    size_t first =
        damages->count > SC_REPORT_DAMAGE_MAX ? damages->count - SC_REPORT_DAMAGE_MAX : 0;
    sc_mp_put_array(reply, 2);
    sc_mp_put_uint(reply, SC_OK);
    sc_mp_put_map(reply, 3);
    struct sc_bitcask_identity identity;
    sc_bitcask_identity(store, &identity);
    sc_mp_put_member(reply, "id", identity.shard_id);
    sc_mp_put_member(reply, "known", damages->count + damages->overflow);
    sc_mp_put_cstr(reply, "damage");
    sc_mp_put_array(reply, (uint32_t)(damages->count - first));
    for (size_t i = first; i < damages->count; i++) {
        put_damage(store, &damages->entries[i], reply);
    }
}

void sc_report_ping(const struct sc_membership *membership, struct sc_buf *reply)
{
    struct writer writer = {0};
    put_identity(&writer, membership);
    sc_mp_put_array(reply, 3);
    sc_mp_put_uint(reply, SC_OK);
    sc_mp_put_cstr(reply, "shardcask");
    finish(&writer, reply);
}
