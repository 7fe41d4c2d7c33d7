#include "shard/care.h"

#include "common/log.h"
#include "shard/bitcask_impl.h"
#include "shard/quarantine.h"
#include "shard/rescue.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOGGED_MAX 100u /* findings of a pass */

struct sc_care {
    /* constant */
    struct sc_bitcask *store; /* kept */
    struct sc_care_host host;

    /* of the thread */
    unsigned logged; /* findings of this pass */
    bool full; /* the quarantine, which was told */
};

struct sc_care *sc_care_alloc(struct sc_bitcask *store, const struct sc_care_host *host)
{
    struct sc_care *care = sc_calloc(1, sizeof *care);
    care->store = store;
    care->host = *host;
    return care;
}

void sc_care_free(struct sc_care *care)
{
    free(care);
}

static void lock(const struct sc_care *care)
{
    care->host.lock(care->host.arg);
}

static void unlock(const struct sc_care *care)
{
    care->host.unlock(care->host.arg);
}

/* ---- Findings ---- */

static void log_finding(struct sc_care *care, const struct sc_damage *damage)
{
    char file[SC_FILES_NAME_SIZE];
    if (++care->logged > LOGGED_MAX) {
        return;
    }
    sc_damage_file(damage, file);
    sc_log_error("scrub: %s in %s: %" PRIu64 " bytes at offset %" PRIu64 " are damaged (%s): %s",
                 file, care->store->files.path, damage->size, damage->offset,
                 sc_damage_name(damage->kind), sc_damage_meaning(damage));
    if (care->logged == LOGGED_MAX) {
        sc_log_error("scrub: further findings are not logged: `shardcask damage` lists them");
    }
}

/* Whether there are bytes to be kept. */
static bool has_bytes(const struct sc_damage *damage)
{
    return damage->kind == SC_DAMAGE_VALUE || damage->kind == SC_DAMAGE_STRETCH ||
           damage->kind == SC_DAMAGE_HEAD;
}

static void keep(struct sc_care *care, const struct sc_damage *damage)
{
    char why[SC_WHY_SIZE];
    enum sc_status status = sc_quarantine_keep(&care->store->files, damage, why);
    if (status != SC_OK) {
        if (status != SC_TOOLARGE || !care->full) {
            sc_log_error("scrub: what is damaged could not be copied aside: %s", why);
        }
        care->full = care->full || status == SC_TOOLARGE;
        return;
    }
    lock(care);
    struct sc_damages_entry *entry = sc_damages_find(&care->store->damages, damage);
    if (entry != NULL) {
        entry->kept = true;
    }
    unlock(care);
}

/* What is in memory is right: writes it anew. */
static void heal_manifest(struct sc_care *care)
{
    char why[SC_WHY_SIZE];
    const char *path = care->store->files.path;
    if (sc_manifest_rewrite(care->store->manifest, why) == SC_OK) {
        sc_log_warn("scrub: " SC_FILES_MANIFEST " in %s was damaged, and was written anew", path);
    } else {
        sc_log_error("scrub: " SC_FILES_MANIFEST " in %s is damaged: %s", path, why);
    }
}

/* Has the hint built again. */
static void heal_hint_locked(struct sc_care *care, uint64_t file)
{
    struct sc_bitcask *store = care->store;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->number == file) {
            segment->hinted = 0;
        }
    }
}

/* Whether the data file itself is whole. */
static bool is_outside(const struct sc_damage *damage)
{
    return damage->kind == SC_DAMAGE_HINT || damage->kind == SC_DAMAGE_LOST;
}

static bool is_tended(const struct sc_damages_entry *entry)
{
    switch (entry->damage.kind) {
    case SC_DAMAGE_VALUE:
        return entry->kept;
    case SC_DAMAGE_STRETCH:
        return entry->kept && entry->damage.known;
    case SC_DAMAGE_END:
    case SC_DAMAGE_FILE:
        return entry->damage.known;
    default:
        return true;
    }
}

/* A file was read to its end. When all damage in it has been seen to, merges may take it. */
static void judge_file_locked(struct sc_care *care, uint64_t file)
{
    struct sc_bitcask *store = care->store;
    const struct sc_damages *damages = &store->damages;
    bool tended = damages->overflow == 0;
    bool any = false;
    for (size_t i = 0; i < damages->count; i++) {
        const struct sc_damages_entry *entry = &damages->entries[i];
        if (entry->damage.file == file) {
            tended = tended && is_tended(entry);
            any = any || !is_outside(&entry->damage);
        }
    }
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->number == file && tended) {
            segment->untended = false;
            segment->tended = any;
        }
    }
}

static void mark_untended_locked(struct sc_care *care, uint64_t file)
{
    struct sc_bitcask *store = care->store;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->number == file) {
            segment->untended = true;
        }
    }
}

void sc_care_found(struct sc_care *care, const struct sc_damage *damage)
{
    if (damage->kind == SC_DAMAGE_MANIFEST) {
        heal_manifest(care);
        return;
    }
    lock(care);
    if (damage->kind == SC_DAMAGE_HINT) {
        heal_hint_locked(care, damage->file);
    }
    bool is_new = sc_bitcask_note_damage(care->store, damage);
    struct sc_damages_entry *entry = sc_damages_find(&care->store->damages, damage);
    bool wanted = has_bytes(damage) && entry != NULL && !entry->kept;
    if (wanted) {
        entry->tried = true;
    }
    if (is_new && !is_outside(damage)) {
        mark_untended_locked(care, damage->file); /* until the whole file was read */
    }
    unlock(care);
    if (is_new) {
        log_finding(care, damage);
    }
    if (wanted) {
        keep(care, damage);
    }
}

/* The next finding of others that nobody has tried to keep; the caller frees the key. */
static bool next_fresh(struct sc_care *care, struct sc_damage *damage)
{
    struct sc_damages *damages = &care->store->damages;
    bool found = false;
    lock(care);
    for (size_t i = 0; i < damages->count && !found; i++) {
        struct sc_damages_entry *entry = &damages->entries[i];
        if (!entry->kept && !entry->tried && has_bytes(&entry->damage)) {
            entry->tried = true;
            found = true;
            *damage = entry->damage;
            if (damage->key.data != NULL) {
                void *key = sc_alloc(damage->key.size);
                memcpy(key, damage->key.data, damage->key.size);
                damage->key.data = key;
            }
        }
    }
    damages->fresh = damages->fresh && found;
    unlock(care);
    return found;
}

void sc_care_attend(struct sc_care *care)
{
    struct sc_damage damage;
    while (next_fresh(care, &damage)) {
        keep(care, &damage);
        free((void *)(uintptr_t)damage.key.data); /* ours */
    }
}

/* The stretches of a file of which no hint tells; the caller frees them. */
static struct sc_rescue_range *find_unknown(struct sc_care *care, uint64_t file, size_t *count)
{
    const struct sc_damages *damages = &care->store->damages;
    *count = 0;
    lock(care);
    struct sc_rescue_range *ranges = sc_calloc(damages->count + 1, sizeof *ranges);
    for (size_t i = 0; i < damages->count; i++) {
        const struct sc_damage *damage = &damages->entries[i].damage;
        if (damage->file == file && !damage->known &&
            (damage->kind == SC_DAMAGE_STRETCH || damage->kind == SC_DAMAGE_END)) {
            ranges[(*count)++] =
                (struct sc_rescue_range){damage->offset, damage->offset + damage->size};
        }
    }
    unlock(care);
    return ranges;
}

static void rescue(struct sc_care *care, uint64_t file)
{
    char why[SC_WHY_SIZE];
    uint64_t rescued = 0;
    size_t count;
    struct sc_rescue_range *ranges = find_unknown(care, file, &count);
    enum sc_status status =
        count > 0 ? sc_rescue_run(care->store, &care->host, file, ranges, count, &rescued, why)
                  : SC_OK;
    if (rescued > 0) {
        sc_log_error("scrub: the values of %" PRIu64
                     " keys are lost with what is damaged in file %" PRIu64
                     " of %s: reading them answers corrupt until they are written or deleted",
                     rescued, file, care->store->files.path);
    }
    if (status != SC_OK) {
        sc_log_error("scrub: which values are lost in file %" PRIu64
                     " of %s could not be noted: %s; it is tried again with the next scrub",
                     file, care->store->files.path, why);
    }
    free(ranges);
}

bool sc_care_wanted(const struct sc_care *care)
{
    return care->store->damages.fresh;
}

void sc_care_begin(struct sc_care *care, uint64_t file)
{
    lock(care);
    sc_damages_age(&care->store->damages, file);
    unlock(care);
}

void sc_care_end(struct sc_care *care, uint64_t file, bool whole)
{
    if (whole) {
        lock(care);
        sc_damages_forget_unseen(&care->store->damages, file);
        judge_file_locked(care, file);
        unlock(care);
        rescue(care, file);
    }
    if (file == 0) { /* the end of the pass */
        care->logged = 0;
        care->full = false;
    }
}
