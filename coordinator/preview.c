#include "coordinator/preview.h"

#include "common/msg.h"
#include "coordinator/draft.h"
#include "coordinator/wish.h"

#include <inttypes.h>
#include <stdlib.h>

/* A batch of 256 slots takes some round trips, fsyncs and a cut-over, however little is in it. */
#define BATCHES_PER_SECOND 8u
#define BATCH_SLOTS 256u

struct preview {
    struct sc_survey *survey;
    bool has_change;
    struct sc_change change;
    uint64_t rate;
    struct sc_sp_origin origin;
    uint32_t asked; /* shards that have not told yet, and one while we ask */
    char why[SC_WHY_SIZE]; /* a shard does not tell; "" else */
};

uint64_t sc_preview_seconds(uint64_t slots, uint64_t bytes, uint64_t rate)
{
    uint64_t batches = (slots + BATCH_SLOTS - 1) / BATCH_SLOTS;
    return bytes / rate + (batches + BATCHES_PER_SECOND - 1) / BATCHES_PER_SECOND;
}

/* ---- The answer ---- */

struct sum {
    uint64_t keys, bytes;
};

/* Adds up what is in the slots of each pair; returns the sum of all. */
static struct sum add_up(const struct sc_survey *survey, const struct sc_draft *draft,
                         struct sum *sums)
{
    const uint32_t *owner = survey->fleet->cluster.owner;
    struct sum all = {0, 0};
    size_t at = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        uint32_t from = owner[slot];
        uint32_t to = draft->after[slot];
        if (from == to) {
            continue;
        }
        if (draft->pairs[at].from != from || draft->pairs[at].to != to) {
            at = sc_draft_find(draft, from, to);
        }
        sums[at].keys += survey->keys[slot];
        sums[at].bytes += survey->bytes[slot];
        all.keys += survey->keys[slot];
        all.bytes += survey->bytes[slot];
    }
    return all;
}

static void put_plan(const struct preview *preview, const struct sc_draft *draft,
                     struct sc_buf *out)
{
    struct sum *sums = sc_calloc(draft->pair_count, sizeof *sums);
    struct sum all = add_up(preview->survey, draft, sums);
    sc_mp_put_map(out, 6);
    sc_mp_put_member(out, "slots", draft->moves);
    sc_mp_put_member(out, "keys", all.keys);
    sc_mp_put_member(out, "bytes", all.bytes);
    sc_mp_put_member(out, "bytes_per_second", preview->rate);
    sc_mp_put_cstr(out, "seconds");
    if (preview->rate > 0) {
        sc_mp_put_uint(out, sc_preview_seconds(draft->moves, all.bytes, preview->rate));
    } else {
        sc_mp_put_nil(out);
    }
    sc_mp_put_cstr(out, "moves");
    sc_mp_put_array(out, (uint32_t)draft->pair_count);
    for (size_t i = 0; i < draft->pair_count; i++) {
        sc_mp_put_map(out, 5);
        sc_mp_put_member(out, "from", draft->pairs[i].from);
        sc_mp_put_member(out, "to", draft->pairs[i].to);
        sc_mp_put_member(out, "slots", draft->pairs[i].slots);
        sc_mp_put_member(out, "keys", sums[i].keys);
        sc_mp_put_member(out, "bytes", sums[i].bytes);
    }
    free(sums);
}

static bool make_draft(const struct preview *preview, struct sc_draft *draft)
{
    return sc_draft_make(draft, &preview->survey->fleet->cluster,
                         preview->has_change ? &preview->change : NULL);
}

static void answer(struct preview *preview)
{
    struct sc_draft *draft = sc_alloc(sizeof *draft);
    if (preview->why[0] != '\0') {
        sc_wish_answer(&preview->origin, SC_UNAVAILABLE, preview->why);
    } else if (!make_draft(preview, draft)) {
        sc_wish_answer(&preview->origin, SC_BUSY, "the map has just been changed: try again");
    } else {
        struct sc_buf *out = sc_sp_reply_begin(&preview->origin);
        sc_mp_put_array(out, 2);
        sc_mp_put_uint(out, SC_OK);
        put_plan(preview, draft, out);
        sc_sp_reply_end(&preview->origin);
        sc_draft_fini(draft);
    }
    free(draft);
    free(preview);
}

/* ---- Asking ---- */

static void on_told(void *arg, bool told)
{
    struct preview *preview = arg;
    if (!told && preview->why[0] == '\0') {
        sc_why(preview->why, "a shard did not tell what it has: try again");
    }
    if (--preview->asked == 0) {
        answer(preview);
    }
}

static void ask(struct preview *preview, uint32_t shard_id)
{
    struct sc_backend *backend = sc_fleet_backend(preview->survey->fleet, shard_id);
    preview->asked++;
    if (!sc_backend_up(backend)) {
        sc_why(preview->why, "%s", sc_backend_why(backend));
    }
    sc_survey_ask(preview->survey, shard_id, on_told, preview);
}

void sc_preview_answer(struct sc_survey *survey, const struct sc_change *change, uint64_t rate,
                       const struct sc_sp_origin *origin)
{
    struct preview *preview = sc_calloc(1, sizeof *preview);
    struct sc_draft *draft = sc_alloc(sizeof *draft);
    *preview = (struct preview){.survey = survey,
                                .has_change = change != NULL,
                                .rate = rate,
                                .origin = *origin,
                                .asked = 1};
    if (change != NULL) {
        preview->change = *change;
    }
    if (make_draft(preview, draft)) {
        for (size_t i = 0; i < draft->pair_count; i++) {
            if (i == 0 || draft->pairs[i].from != draft->pairs[i - 1].from) {
                ask(preview, draft->pairs[i].from);
            }
        }
        sc_draft_fini(draft);
    }
    free(draft);
    on_told(preview, true);
}
