#include "shard/merge_impl.h"

#include "common/failpoint.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PRESSED_PERCENT 25u /* of a file, when space is short: copying three bytes gains one */

struct sc_merge *sc_merge_alloc(struct sc_bitcask *store)
{
    struct sc_merge *merge = sc_calloc(1, sizeof *merge);
    merge->store = store;
    merge->options =
        (struct sc_merge_options){SC_MERGE_DEAD_PERCENT_DEFAULT, SC_MERGE_DEAD_BYTES_MIN_DEFAULT};
    merge->figures.error = merge->error;
    return merge;
}

void sc_merge_free(struct sc_merge *merge)
{
    if (merge != NULL) {
        assert(merge->output_count == 0);
        sc_buf_fini(&merge->slice.bytes);
        sc_buf_fini(&merge->buffer);
        free(merge->fences);
        free(merge->outputs);
        free(merge);
    }
}

void sc_merge_configure(struct sc_merge *merge, const struct sc_merge_options *options)
{
    merge->options = *options;
    if (merge->options.dead_percent == 0) {
        merge->options.dead_percent = SC_MERGE_DEAD_PERCENT_DEFAULT;
    }
}

void sc_merge_figures(const struct sc_merge *merge, struct sc_merge_figures *figures)
{
    *figures = merge->figures;
}

void sc_merge_press(struct sc_merge *merge, bool pressed)
{
    merge->pressed = pressed;
}

/* What is worth a merge now. */
static struct sc_merge_options options_now(const struct sc_merge *merge)
{
    struct sc_merge_options options = merge->options;
    if (merge->pressed) {
        bool lower = options.dead_percent > PRESSED_PERCENT;
        options.dead_percent = lower ? PRESSED_PERCENT : options.dead_percent;
        options.dead_bytes_min = 1;
    }
    return options;
}

/* ---- What was asked for ---- */

void sc_merge_ask(struct sc_merge *merge)
{
    const struct sc_bitcask *store = merge->store;
    struct sc_segment *active = store->writer.active;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->sealed && !segment->retired) {
            segment->asked = true;
        }
    }
    if (active != NULL && (sc_segment_dead_bytes(active) + active->deletion_bytes > 0 ||
                           active->untended || active->tended)) {
        active->asked = true;
    }
    merge->figures.asked = true;
}

void sc_merge_repair(struct sc_merge *merge, bool accept_loss)
{
    const struct sc_bitcask *store = merge->store;
    merge->repair = true;
    merge->accept_loss = accept_loss;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment == NULL || segment->retired) {
            continue;
        }
        if (segment->untended && accept_loss) {
            segment->untended = false;
            segment->tended = true;
        }
        segment->asked = segment->tended;
    }
    merge->figures.asked = true;
}

/* Nothing that was asked for can be merged now: then all is done, or has to wait for a commit. */
static void end_asked(struct sc_merge *merge)
{
    const struct sc_bitcask *store = merge->store;
    merge->figures.asked = false;
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->asked && !segment->damaged && !segment->untended) {
            bool waits = !sc_writer_is_done(&store->writer, segment);
            segment->asked = waits;
            merge->figures.asked = merge->figures.asked || waits;
        }
    }
}

bool sc_merge_wanted(const struct sc_merge *merge)
{
    struct sc_merge_choice choice;
    const struct sc_merge_options options = options_now(merge);
    return merge->store->writer.failed[0] == '\0' && !merge->store->options.read_only &&
           !sc_bitcask_merges_held(merge->store) &&
           (merge->figures.asked ||
            sc_merge_choose(merge->store, &options, false, merge->few, &choice));
}

/* Seals the active file, so that it can be merged. */
static enum sc_status seal_active(struct sc_merge *merge, char *why)
{
    struct sc_bitcask *store = merge->store;
    struct sc_writer *writer = &store->writer;
    struct sc_segment *spare = NULL;
    sc_merge_lock(merge);
    bool wanted = writer->active != NULL && writer->active->asked && writer->failed[0] == '\0';
    bool make = wanted && writer->next == NULL;
    sc_merge_unlock(merge);
    if (!wanted) {
        return SC_OK;
    }
    enum sc_status status =
        make ? sc_writer_make(&store->files, store->manifest, &spare, why) : SC_OK;
    if (status != SC_OK) {
        return status;
    }
    sc_merge_lock(merge);
    struct sc_segment *active = writer->active;
    /* Writers may have gone on to younger files meanwhile, and a new one may have been asked for:
     * then the next merge seals that. */
    bool ready = writer->next != NULL || (spare != NULL && spare->number > active->number);
    if (active->asked && ready && !sc_writer_seal(writer, &spare)) {
        active->asked = false;
        status =
            sc_fail(why, SC_IO, "%s has as many data files as a store can have", store->files.path);
    }
    sc_merge_unlock(merge);
    if (spare != NULL) {
        /* Another one was quicker; this one stays empty and goes with a later merge. */
        sc_manifest_settle(store->manifest, spare->number, spare->size);
        sc_segment_close(spare);
    }
    if (status != SC_OK) {
        return status;
    }
    return merge->host->sync(merge->host->arg)
               ? SC_OK
               : sc_fail(why, SC_UNAVAILABLE, "what waits could not be written");
}

/* ---- Beginning ---- */

/* Chooses the inputs and makes them ours. */
static bool begin_locked(struct sc_merge *merge)
{
    struct sc_bitcask *store = merge->store;
    const struct sc_merge_options options = options_now(merge);
    bool chosen =
        merge->figures.asked && sc_merge_choose(store, &options, true, merge->few, &merge->choice);
    if (!chosen) {
        end_asked(merge);
        chosen =
            !merge->repair && sc_merge_choose(store, &options, false, merge->few, &merge->choice);
    }
    if (!chosen) {
        return false;
    }
    for (size_t i = 0; i < merge->choice.count; i++) {
        merge->choice.inputs[i]->merging = true;
        merge->copied[i] = 0;
    }
    merge->clean = store->clock.last;
    merge->deletions_dropped = 0;
    merge->kept = false;
    merge->slice.count = 0;
    merge->slice.bytes.size = 0;
    merge->figures.running = true;
    merge->figures.bytes = merge->choice.bytes;
    merge->figures.bytes_done = 0;
    merge->figures.files = merge->choice.count;
    return true;
}

static bool begin(struct sc_merge *merge)
{
    sc_merge_lock(merge);
    bool begun = !merge->store->options.read_only && merge->store->writer.failed[0] == '\0' &&
                 begin_locked(merge);
    sc_merge_unlock(merge);
    return begun;
}

/* Which records are dead whatever the keydir says. No fence is set while a merge is under way. */
static void load_fences(struct sc_merge *merge)
{
    struct sc_manifest_fence *fences = sc_calloc(SC_SLOT_COUNT, sizeof *fences);
    free(merge->fences);
    merge->fences = NULL;
    if (sc_manifest_fences(merge->store->manifest, fences)) {
        merge->fences = fences;
    } else {
        free(fences);
    }
}

/* ---- Ending ---- */

/* Gives an input up. False: something still points to it. */
static bool doom(struct sc_merge *merge, struct sc_segment *segment)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (;;) {
        sc_merge_lock(merge);
        bool in_use = segment->live_bytes > 0;
        bool free = sc_writer_forget(&merge->store->writer, segment);
        if (!in_use && free) {
            sc_reap_doom(merge->store, segment, merge->kept);
        }
        sc_merge_unlock(merge);
        if (in_use || free) {
            return !in_use;
        }
        (void)nanosleep(&pause, NULL); /* until the commit that is under way is over */
    }
}

/* The keydir points to a record in an input still, and a copy that it does not point to looks dead:
 * but that copy is the one which counts after the next start, so it must not be merged away. */
static void keep_outputs(const struct sc_merge *merge)
{
    sc_merge_lock(merge);
    for (size_t i = 0; i < merge->output_count; i++) {
        merge->outputs[i].segment->damaged = true;
    }
    sc_merge_unlock(merge);
}

static void drop_inputs(struct sc_merge *merge)
{
    struct sc_reap_list list = {.count = 0};
    sc_failpoint("merge_before_unlink");
    for (size_t i = 0; i < merge->choice.count; i++) {
        if (!doom(merge, merge->choice.inputs[i])) {
            keep_outputs(merge);
        }
    }
    bool more = true;
    while (more) {
        sc_merge_lock(merge);
        sc_reap_take(merge->store, &list);
        sc_merge_unlock(merge);
        more = list.count > 0;
        sc_reap_remove(merge->store, &list);
    }
}

/* Removes the outputs of a merge that did not come to its end. */
static void drop_outputs(struct sc_merge *merge)
{
    sc_merge_lock(merge);
    for (size_t i = 0; i < merge->output_count; i++) {
        if (merge->outputs[i].enlisted) {
            merge->store->segments[merge->outputs[i].segment->index] = NULL;
        }
    }
    for (size_t i = 0; i < merge->choice.count; i++) {
        merge->choice.inputs[i]->merging = false;
    }
    sc_merge_unlock(merge);
    for (size_t i = 0; i < merge->output_count; i++) {
        struct sc_reap_list list = {.segments = {merge->outputs[i].segment}, .count = 1};
        sc_reap_remove(merge->store, &list);
    }
}

static void end_locked(struct sc_merge *merge, enum sc_status status, const char *why)
{
    struct sc_merge_figures *figures = &merge->figures;
    figures->running = false;
    figures->output_bytes = 0;
    if (status == SC_OK) {
        uint64_t written = 0;
        for (size_t i = 0; i < merge->output_count; i++) {
            written += merge->outputs[i].segment->size;
        }
        figures->merges++;
        figures->read_bytes += merge->choice.bytes;
        figures->written_bytes += written;
        figures->reclaimed_bytes +=
            merge->choice.bytes > written ? merge->choice.bytes - written : 0;
        figures->deletions_dropped += merge->deletions_dropped;
        merge->error[0] = '\0';
    } else if (status != SC_UNAVAILABLE) {
        figures->failures++;
        (void)snprintf(merge->error, sizeof merge->error, "%s", why);
    }
    merge->few = status == SC_IO;
}

static enum sc_status run(struct sc_merge *merge, char *why)
{
    enum sc_status status = SC_OK;
    for (size_t i = 0; i < merge->choice.count && status == SC_OK; i++) {
        status = sc_merge_copy(merge, i, why);
    }
    return status == SC_OK ? sc_merge_commit(merge, why) : status;
}

/* Merges, unless merges are held. */
static enum sc_status run_once(struct sc_merge *merge, char *why)
{
    enum sc_status status = seal_active(merge, why);
    if (status == SC_OK && !begin(merge)) {
        return SC_NOTFOUND;
    }
    if (status == SC_OK) {
        load_fences(merge);
        status = run(merge, why);
        if (status == SC_OK) {
            sc_merge_commit_move(merge);
        }
        /* What was not written of an output that is given up. */
        sc_buf_reset(&merge->buffer, SC_MERGE_BUFFER_KEEP);
        sc_buf_reset(&merge->slice.bytes, SC_MERGE_BUFFER_KEEP);
        merge->slice.count = 0;
        if (status != SC_OK) {
            drop_outputs(merge);
        }
    }
    if (status == SC_OK) {
        drop_inputs(merge);
    }
    sc_merge_output_forget_lost(merge);
    sc_merge_lock(merge);
    end_locked(merge, status, why);
    sc_merge_unlock(merge);
    merge->output_count = 0;
    return status;
}

enum sc_status sc_merge_run(struct sc_merge *merge, const struct sc_merge_host *host, char *why)
{
    struct sc_bitcask *store = merge->store;
    merge->host = host;
    sc_merge_lock(merge);
    bool held = sc_bitcask_merges_held(store);
    store->moving.merging = !held;
    sc_merge_unlock(merge);
    if (held) {
        return SC_NOTFOUND;
    }
    enum sc_status status = run_once(merge, why);
    sc_merge_lock(merge);
    store->moving.merging = false;
    sc_merge_unlock(merge);
    return status;
}
