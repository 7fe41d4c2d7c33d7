#include "shard/merge_choose.h"

#include "shard/bitcask_impl.h"

#include <stdlib.h>

struct candidate {
    struct sc_segment *segment;
    uint64_t gain; /* bytes that can be reclaimed */
};

struct candidates {
    struct candidate *items;
    size_t count;
    uint64_t gain;
};

/* Can it be an input? */
static bool is_eligible(const struct sc_bitcask *store, const struct sc_segment *segment)
{
    return !segment->retired && !segment->damaged && !segment->untended &&
           sc_writer_is_done(&store->writer, segment);
}

/* Deletions with a version below this hide nothing in that file. */
static uint64_t bound_of(const struct sc_segment *segment)
{
    bool counted = !segment->damaged && !segment->untended;
    if (segment->retired || (counted && sc_segment_dead_bytes(segment) == 0)) {
        return UINT64_MAX;
    }
    return segment->version_min > segment->clean ? segment->version_min : segment->clean + 1;
}

/* The smallest bounds: of all files, and of all but the one that has it. */
struct bounds {
    const struct sc_segment *lowest;
    uint64_t first, second;
    uint64_t fixed; /* of files that cannot be merged */
};

static struct bounds find_bounds(const struct sc_bitcask *store)
{
    struct bounds bounds = {NULL, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < store->segment_count; i++) {
        const struct sc_segment *segment = store->segments[i];
        uint64_t bound = segment != NULL ? bound_of(segment) : UINT64_MAX;
        if (bound < bounds.first) {
            bounds.second = bounds.first;
            bounds.first = bound;
            bounds.lowest = segment;
        } else if (bound < bounds.second) {
            bounds.second = bound;
        }
        if (bound < bounds.fixed && !is_eligible(store, segment)) {
            bounds.fixed = bound;
        }
    }
    return bounds;
}

/* Whether merging this file alone would drop all its deletions. */
static bool is_free(const struct bounds *bounds, const struct sc_segment *segment)
{
    return segment->deletion_max < (bounds->lowest == segment ? bounds->second : bounds->first);
}

static uint64_t gain_of(const struct bounds *bounds, const struct sc_segment *segment)
{
    if (segment->size <= SC_SEGMENT_HEADER_SIZE) {
        return SC_SEGMENT_HEADER_SIZE; /* empty: a leftover */
    }
    return sc_segment_dead_bytes(segment) +
           (is_free(bounds, segment) ? segment->deletion_bytes : 0) + (segment->tended ? 1 : 0);
}

static void add(struct candidates *candidates, struct sc_segment *segment, uint64_t gain)
{
    candidates->items[candidates->count++] = (struct candidate){segment, gain};
    candidates->gain += gain;
}

static void find_candidates(const struct sc_bitcask *store, const struct sc_merge_options *options,
                            bool asked, const struct bounds *bounds, struct candidates *candidates)
{
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment == NULL || !is_eligible(store, segment)) {
            continue;
        }
        uint64_t gain = gain_of(bounds, segment);
        bool worth = asked ? segment->asked : gain * 100 >= segment->size * options->dead_percent;
        if (worth && gain > 0) {
            add(candidates, segment, gain);
        }
    }
}

/* Files that hold up so many deletions that it pays to rewrite them. */
static void find_blockers(const struct sc_bitcask *store, const struct sc_merge_options *options,
                          const struct bounds *bounds, struct candidates *candidates)
{
    uint64_t held = 0; /* bytes of deletions */
    uint64_t newest = 0; /* of these */
    uint64_t blocking = 0; /* bytes of files */
    for (size_t i = 0; i < store->segment_count; i++) {
        const struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->deletion_bytes > 0 && is_eligible(store, segment) &&
            !is_free(bounds, segment) && segment->deletion_max < bounds->fixed) {
            held += segment->deletion_bytes;
            newest = segment->deletion_max > newest ? segment->deletion_max : newest;
        }
    }
    for (size_t i = 0; i < store->segment_count && held > 0; i++) {
        struct sc_segment *segment = store->segments[i];
        if (segment != NULL && is_eligible(store, segment) && bound_of(segment) <= newest) {
            blocking += segment->size;
            add(candidates, segment, sc_segment_dead_bytes(segment));
        }
    }
    candidates->gain += held;
    if (held * 100 < (held + blocking) * options->dead_percent) {
        candidates->count = 0;
    }
}

/* Larger share of gain first; the older file first if equal. */
static int compare(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    double share_x = (double)x->gain / (double)x->segment->size;
    double share_y = (double)y->gain / (double)y->segment->size;
    if (share_x != share_y) {
        return share_x > share_y ? -1 : 1;
    }
    return x->segment->number < y->segment->number ? -1 : 1;
}

/* The one that blocks the oldest deletions first: when the others follow, nothing blocks theirs. */
static int compare_bounds(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    uint64_t bound_x = bound_of(x->segment);
    uint64_t bound_y = bound_of(y->segment);
    if (bound_x != bound_y) {
        return bound_x < bound_y ? -1 : 1;
    }
    return x->segment->number < y->segment->number ? -1 : 1;
}

static bool is_chosen(const struct sc_merge_choice *choice, const struct sc_segment *segment)
{
    for (size_t i = 0; i < choice->count; i++) {
        if (choice->inputs[i] == segment) {
            return true;
        }
    }
    return false;
}

static void take(const struct sc_bitcask *store, const struct candidates *candidates, bool few,
                 struct sc_merge_choice *choice)
{
    uint64_t copied = 0;
    *choice = (struct sc_merge_choice){.bound = UINT64_MAX};
    for (size_t i = 0; i < candidates->count && choice->count < (few ? 1 : SC_MERGE_CHOOSE_MAX);
         i++) {
        struct sc_segment *segment = candidates->items[i].segment;
        uint64_t gain = candidates->items[i].gain;
        uint64_t rest = segment->size > gain ? segment->size - gain : 0;
        if (choice->count > 0 && copied + rest > store->writer.file_size_max) {
            continue; /* a smaller one may still fit */
        }
        copied += rest;
        choice->inputs[choice->count++] = segment;
        choice->bytes += segment->size;
    }
    for (size_t i = 0; i < store->segment_count; i++) {
        const struct sc_segment *segment = store->segments[i];
        if (segment != NULL && !is_chosen(choice, segment)) {
            uint64_t bound = bound_of(segment);
            choice->bound = bound < choice->bound ? bound : choice->bound;
        }
    }
}

bool sc_merge_choose(const struct sc_bitcask *store, const struct sc_merge_options *options,
                     bool asked, bool few, struct sc_merge_choice *choice)
{
    struct candidates candidates = {0};
    struct bounds bounds = find_bounds(store);
    candidates.items = sc_calloc(store->segment_count + 1, sizeof *candidates.items);
    find_candidates(store, options, asked, &bounds, &candidates);
    bool worth = candidates.count > 0 && (asked || candidates.gain >= options->dead_bytes_min);
    if (!worth && !asked) {
        candidates.count = 0;
        candidates.gain = 0;
        find_blockers(store, options, &bounds, &candidates);
        worth = candidates.count > 0 && candidates.gain >= options->dead_bytes_min;
    }
    if (worth) {
        qsort(candidates.items, candidates.count, sizeof *candidates.items,
              asked ? compare_bounds : compare);
        take(store, &candidates, few, choice);
    }
    free(candidates.items);
    return worth;
}
