#include "shard/manifest_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool bit(const uint8_t *slots, uint32_t slot)
{
    return (slots[slot / 8] >> (slot % 8) & 1) != 0;
}

/* ---- Changing the state as a whole ---- */

void sc_manifest_state_free(struct sc_manifest_state *state)
{
    if (state != NULL) {
        sc_buf_fini(&state->import_cursor);
        sc_buf_fini(&state->import_mark);
        sc_buf_fini(&state->export_mark);
        free(state);
    }
}

static void set_bytes(struct sc_buf *buf, struct sc_slice bytes)
{
    buf->size = 0;
    sc_buf_append_slice(buf, bytes);
}

static struct sc_manifest_state *state_copy(const struct sc_manifest_state *state)
{
    struct sc_manifest_state *copy = sc_alloc(sizeof *copy);
    *copy = *state;
    copy->import_cursor = copy->import_mark = copy->export_mark = (struct sc_buf){0};
    set_bytes(&copy->import_cursor, sc_buf_slice(&state->import_cursor));
    set_bytes(&copy->import_mark, sc_buf_slice(&state->import_mark));
    set_bytes(&copy->export_mark, sc_buf_slice(&state->export_mark));
    return copy;
}

/* Makes `changed` the state, durably, and takes it; on failure the old one stays. */
static enum sc_status replace_state(struct sc_manifest *manifest, struct sc_manifest_state *changed,
                                    char *why)
{
    struct sc_manifest_state *before = manifest->state;
    manifest->state = changed;
    enum sc_status status = sc_manifest_save_locked(manifest, why);
    if (status == SC_OK) {
        sc_manifest_state_free(before);
        return SC_OK;
    }
    manifest->state = before;
    sc_manifest_state_free(changed);
    manifest->dirty = true; /* if the new one is on disk, it does not stay there */
    return SC_IO;
}

/* ---- Identity ---- */

void sc_manifest_identity(struct sc_manifest *manifest, struct sc_manifest_identity *identity)
{
    sc_manifest_lock(manifest);
    *identity = manifest->state->identity;
    sc_manifest_unlock(manifest);
}

static enum sc_status adopt_locked(struct sc_manifest *manifest, const uint8_t cluster[16],
                                   uint32_t shard_id, char *why)
{
    const struct sc_manifest_identity *before = &manifest->state->identity;
    if (before->adopted) {
        bool same = memcmp(before->cluster, cluster, 16) == 0;
        if (same && before->shard_id == shard_id) {
            return SC_OK;
        }
        return sc_fail(
            why, SC_DENIED, "%s belongs to shard %" PRIu32 "%s: it cannot become shard %" PRIu32,
            manifest->dir->path, before->shard_id, same ? "" : " of another cluster", shard_id);
    }
    if (manifest->file_count > 0) {
        return sc_fail(why, SC_DENIED, "%s holds data that belongs to no cluster",
                       manifest->dir->path);
    }
    struct sc_manifest_state *changed = state_copy(manifest->state);
    memcpy(changed->identity.cluster, cluster, 16);
    changed->identity.shard_id = shard_id;
    changed->identity.adopted = true;
    return replace_state(manifest, changed, why);
}

enum sc_status sc_manifest_adopt(struct sc_manifest *manifest, const uint8_t cluster[16],
                                 uint32_t shard_id, char *why)
{
    sc_manifest_lock(manifest);
    enum sc_status status = adopt_locked(manifest, cluster, shard_id, why);
    sc_manifest_unlock(manifest);
    return status;
}

/* ---- Slots ---- */

static bool is_ours(const struct sc_manifest_slot *slot)
{
    return slot->state == SC_MANIFEST_OWNED || slot->state == SC_MANIFEST_LEAVING;
}

void sc_manifest_slot(struct sc_manifest *manifest, uint32_t slot, struct sc_manifest_slot *state)
{
    assert(slot < SC_SLOT_COUNT);
    sc_manifest_lock(manifest);
    *state = manifest->state->slots[slot];
    sc_manifest_unlock(manifest);
}

void sc_manifest_slots(struct sc_manifest *manifest, enum sc_manifest_slot_state state,
                       uint8_t slots[SC_SLOT_COUNT / 8])
{
    memset(slots, 0, SC_SLOT_COUNT / 8);
    sc_manifest_lock(manifest);
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        if (manifest->state->slots[s].state == state) {
            slots[s / 8] = (uint8_t)(slots[s / 8] | 1u << (s % 8));
        }
    }
    sc_manifest_unlock(manifest);
}

bool sc_manifest_fences(struct sc_manifest *manifest,
                        struct sc_manifest_fence fences[SC_SLOT_COUNT])
{
    const struct sc_manifest_fence end = {UINT64_MAX, UINT64_MAX};
    bool any = false;
    sc_manifest_lock(manifest);
    const struct sc_manifest_slot *slots = manifest->state->slots;
    for (uint32_t s = 0; s < SC_SLOT_COUNT && !any; s++) {
        any = slots[s].fence.file != 0 || slots[s].state == SC_MANIFEST_FENCED;
    }
    for (uint32_t s = 0; s < SC_SLOT_COUNT && any; s++) {
        fences[s] = slots[s].state == SC_MANIFEST_FENCED ? end : slots[s].fence;
    }
    sc_manifest_unlock(manifest);
    return any;
}

uint64_t sc_manifest_floor(struct sc_manifest *manifest)
{
    sc_manifest_lock(manifest);
    uint64_t version = manifest->state->floor;
    sc_manifest_unlock(manifest);
    return version;
}

/* Ends a move of which no slot is left. */
static void end_moves(struct sc_manifest_state *state)
{
    bool importing = false;
    bool exporting = false;
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        importing = importing || state->slots[s].state == SC_MANIFEST_IMPORTING;
        exporting = exporting || state->slots[s].state == SC_MANIFEST_LEAVING;
    }
    if (!importing) {
        state->importing = state->ready = false;
        state->import_move = 0;
        state->import_cursor.size = state->import_mark.size = 0;
    }
    if (!exporting) {
        state->exporting = false;
        state->export_move = 0;
        state->export_mark.size = 0;
    }
}

/* ---- Grants ---- */

static enum sc_status check_grant(const struct sc_manifest_state *state, uint64_t term,
                                  const uint8_t *owned, char *why)
{
    if (term < state->identity.term) {
        return sc_fail(why, SC_DENIED,
                       "the coordinator's term %" PRIu64 " is over: %" PRIu64 " has begun", term,
                       state->identity.term);
    }
    bool first = state->identity.epoch == 0; /* of a new cluster: nothing can be missing yet */
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        const struct sc_manifest_slot *slot = &state->slots[s];
        bool whole = is_ours(slot) || (slot->state == SC_MANIFEST_IMPORTING && state->ready) ||
                     (slot->state == SC_MANIFEST_NONE && first);
        if (bit(owned, s) && !whole) {
            return sc_fail(why, SC_DENIED,
                           "slot %" PRIu32 " cannot be served: its keys are not here", s);
        }
    }
    return SC_OK;
}

/* Sets the states that a grant means; true when that changes anything. */
static bool apply_grant(struct sc_manifest_state *state, uint64_t epoch, const uint8_t *owned,
                        struct sc_manifest_fence fence)
{
    bool changed = false;
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        struct sc_manifest_slot *slot = &state->slots[s];
        if (bit(owned, s) && !is_ours(slot)) {
            slot->state = SC_MANIFEST_OWNED;
            slot->epoch = epoch;
            changed = true;
        } else if (!bit(owned, s) && is_ours(slot)) {
            *slot = (struct sc_manifest_slot){SC_MANIFEST_FENCED, epoch, fence};
            changed = true;
        }
    }
    end_moves(state);
    return changed;
}

static enum sc_status grant_locked(struct sc_manifest *manifest, uint64_t term, uint64_t epoch,
                                   const uint8_t *owned, struct sc_manifest_fence fence, char *why)
{
    enum sc_status status = check_grant(manifest->state, term, owned, why);
    if (status != SC_OK) {
        return status;
    }
    struct sc_manifest_state *changed = state_copy(manifest->state);
    bool must = apply_grant(changed, epoch, owned, fence) || term != changed->identity.term ||
                changed->identity.epoch == 0;
    changed->identity.term = term;
    changed->identity.epoch = epoch;
    if (must) {
        return replace_state(manifest, changed, why);
    }
    /* That nothing has changed up to this epoch need not be on disk. */
    manifest->dirty = manifest->dirty || epoch != manifest->state->identity.epoch;
    sc_manifest_state_free(manifest->state);
    manifest->state = changed;
    return SC_OK;
}

enum sc_status sc_manifest_grant(struct sc_manifest *manifest, uint64_t term, uint64_t epoch,
                                 const uint8_t owned[SC_SLOT_COUNT / 8],
                                 struct sc_manifest_fence fence, char *why)
{
    sc_manifest_lock(manifest);
    enum sc_status status = grant_locked(manifest, term, epoch, owned, fence, why);
    sc_manifest_unlock(manifest);
    return status;
}

enum sc_status sc_manifest_check_grant(struct sc_manifest *manifest, uint64_t term,
                                       const uint8_t owned[SC_SLOT_COUNT / 8], char *why)
{
    sc_manifest_lock(manifest);
    enum sc_status status = check_grant(manifest->state, term, owned, why);
    sc_manifest_unlock(manifest);
    return status;
}

bool sc_manifest_would_lose(struct sc_manifest *manifest, const uint8_t owned[SC_SLOT_COUNT / 8])
{
    bool loses = false;
    sc_manifest_lock(manifest);
    for (uint32_t s = 0; s < SC_SLOT_COUNT && !loses; s++) {
        loses = is_ours(&manifest->state->slots[s]) && !bit(owned, s);
    }
    sc_manifest_unlock(manifest);
    return loses;
}

/* ---- Slots that arrive ---- */

bool sc_manifest_import(struct sc_manifest *manifest, uint64_t *move, bool *ready,
                        struct sc_buf *cursor, struct sc_buf *mark)
{
    sc_manifest_lock(manifest);
    const struct sc_manifest_state *state = manifest->state;
    bool importing = state->importing;
    *move = state->import_move;
    *ready = state->ready;
    if (cursor != NULL) {
        sc_buf_append_slice(cursor, sc_buf_slice(&state->import_cursor));
    }
    if (mark != NULL) {
        sc_buf_append_slice(mark, sc_buf_slice(&state->import_mark));
    }
    sc_manifest_unlock(manifest);
    return importing;
}

/* Whether exactly these slots have this state. */
static bool are_exactly(const struct sc_manifest_state *state, const uint8_t *slots,
                        enum sc_manifest_slot_state expected)
{
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        if ((state->slots[s].state == expected) != bit(slots, s)) {
            return false;
        }
    }
    return true;
}

static enum sc_status import_begin_locked(struct sc_manifest *manifest, uint64_t move,
                                          const uint8_t *slots, struct sc_manifest_fence fence,
                                          char *why)
{
    const struct sc_manifest_state *before = manifest->state;
    if (before->importing && before->import_move == move) {
        return are_exactly(before, slots, SC_MANIFEST_IMPORTING)
                   ? SC_OK
                   : sc_fail(why, SC_DENIED, "move %" PRIu64 " has other slots", move);
    }
    if (before->importing) {
        return sc_fail(why, SC_DENIED, "slots arrive by move %" PRIu64 " already",
                       before->import_move);
    }
    struct sc_manifest_state *changed = state_copy(before);
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        struct sc_manifest_slot *slot = &changed->slots[s];
        if (!bit(slots, s)) {
            continue;
        }
        if (is_ours(slot)) {
            sc_manifest_state_free(changed);
            return sc_fail(why, SC_DENIED, "slot %" PRIu32 " is here already", s);
        }
        slot->state = SC_MANIFEST_IMPORTING;
        slot->fence = fence;
    }
    changed->importing = true;
    changed->import_move = move;
    return replace_state(manifest, changed, why);
}

enum sc_status sc_manifest_import_begin(struct sc_manifest *manifest, uint64_t move,
                                        const uint8_t slots[SC_SLOT_COUNT / 8],
                                        struct sc_manifest_fence fence, char *why)
{
    sc_manifest_lock(manifest);
    enum sc_status status = import_begin_locked(manifest, move, slots, fence, why);
    sc_manifest_unlock(manifest);
    return status;
}

enum sc_status sc_manifest_import_progress(struct sc_manifest *manifest, struct sc_slice cursor,
                                           struct sc_slice mark, char *why)
{
    assert(cursor.size <= SC_MANIFEST_CURSOR_MAX && mark.size <= SC_MANIFEST_MARK_MAX);
    sc_manifest_lock(manifest);
    assert(manifest->state->importing);
    struct sc_manifest_state *changed = state_copy(manifest->state);
    set_bytes(&changed->import_cursor, cursor);
    set_bytes(&changed->import_mark, mark);
    changed->ready = false;
    enum sc_status status = replace_state(manifest, changed, why);
    sc_manifest_unlock(manifest);
    return status;
}

enum sc_status sc_manifest_import_ready(struct sc_manifest *manifest, struct sc_slice cursor,
                                        struct sc_slice mark, uint64_t version, char *why)
{
    assert(cursor.size <= SC_MANIFEST_CURSOR_MAX && mark.size <= SC_MANIFEST_MARK_MAX);
    sc_manifest_lock(manifest);
    assert(manifest->state->importing);
    struct sc_manifest_state *changed = state_copy(manifest->state);
    set_bytes(&changed->import_cursor, cursor);
    set_bytes(&changed->import_mark, mark);
    changed->ready = true;
    changed->floor = version > changed->floor ? version : changed->floor;
    enum sc_status status = replace_state(manifest, changed, why);
    sc_manifest_unlock(manifest);
    return status;
}

enum sc_status sc_manifest_import_drop(struct sc_manifest *manifest, struct sc_manifest_fence fence,
                                       char *why)
{
    sc_manifest_lock(manifest);
    struct sc_manifest_state *changed = state_copy(manifest->state);
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        struct sc_manifest_slot *slot = &changed->slots[s];
        if (slot->state == SC_MANIFEST_IMPORTING) {
            slot->state = SC_MANIFEST_FENCED;
            slot->fence = fence;
        }
    }
    end_moves(changed);
    enum sc_status status = replace_state(manifest, changed, why);
    sc_manifest_unlock(manifest);
    return status;
}

/* ---- Slots that leave ---- */

bool sc_manifest_export(struct sc_manifest *manifest, uint64_t *move, struct sc_buf *mark)
{
    sc_manifest_lock(manifest);
    const struct sc_manifest_state *state = manifest->state;
    bool exporting = state->exporting;
    *move = state->export_move;
    if (mark != NULL) {
        sc_buf_append_slice(mark, sc_buf_slice(&state->export_mark));
    }
    sc_manifest_unlock(manifest);
    return exporting;
}

/* These slots leave and no others; false: one of them is not ours. */
static bool set_leaving(struct sc_manifest_state *state, const uint8_t *slots)
{
    for (uint32_t s = 0; s < SC_SLOT_COUNT; s++) {
        struct sc_manifest_slot *slot = &state->slots[s];
        bool leaves = slots != NULL && bit(slots, s);
        if (is_ours(slot)) {
            slot->state = leaves ? SC_MANIFEST_LEAVING : SC_MANIFEST_OWNED;
        } else if (leaves) {
            return false;
        }
    }
    return true;
}

enum sc_status sc_manifest_export_begin(struct sc_manifest *manifest, uint64_t move,
                                        const uint8_t slots[SC_SLOT_COUNT / 8],
                                        struct sc_slice mark, char *why)
{
    assert(mark.size <= SC_MANIFEST_MARK_MAX);
    sc_manifest_lock(manifest);
    struct sc_manifest_state *changed = state_copy(manifest->state);
    enum sc_status status = SC_OK;
    if (!set_leaving(changed, slots)) {
        sc_manifest_state_free(changed);
        status = sc_fail(why, SC_DENIED, "not all of these slots are here");
    } else {
        changed->exporting = true;
        changed->export_move = move;
        set_bytes(&changed->export_mark, mark);
        status = replace_state(manifest, changed, why);
    }
    sc_manifest_unlock(manifest);
    return status;
}

enum sc_status sc_manifest_export_end(struct sc_manifest *manifest, char *why)
{
    sc_manifest_lock(manifest);
    struct sc_manifest_state *changed = state_copy(manifest->state);
    (void)set_leaving(changed, NULL);
    end_moves(changed);
    enum sc_status status = replace_state(manifest, changed, why);
    sc_manifest_unlock(manifest);
    return status;
}
