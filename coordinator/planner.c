#include "coordinator/planner.h"

#include "common/buf.h"

#include <assert.h>
#include <stdlib.h>

static struct sc_planner_shard *find(struct sc_planner_shard *shards, size_t count, uint32_t id)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (shards[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    assert(low < count && shards[low].id == id);
    return &shards[low];
}

/* The last slot of the stretch with one owner that begins at `first`. */
static uint32_t stretch_end(const uint32_t *owner, uint32_t first)
{
    uint32_t last = first;
    while (last + 1 < SC_SLOT_COUNT && owner[last + 1] == owner[first]) {
        last++;
    }
    return last;
}

static void count_slots(struct sc_planner_shard *shards, size_t count, const uint32_t *owner)
{
    for (size_t i = 0; i < count; i++) {
        assert(i == 0 || shards[i - 1].id < shards[i].id);
        shards[i].slots = 0;
    }
    uint32_t last = 0;
    for (uint32_t first = 0; first < SC_SLOT_COUNT; first = last + 1) {
        last = stretch_end(owner, first);
        find(shards, count, owner[first])->slots += last - first + 1;
    }
}

/* ---- Quotas ---- */

/* A shard whose share is no whole number. */
struct claim {
    struct sc_planner_shard *shard;
    uint64_t rest; /* of the share, in parts of the sum of weights */
};

/* Who gets the share rounded up, first: who owns as much already, then who owns most; among those
 * who would have to be given it, whose share is nearest to the next whole number. */
static int by_urgency(const void *left, const void *right)
{
    const struct claim *a = left;
    const struct claim *b = right;
    bool a_above = a->shard->slots > a->shard->quota;
    bool b_above = b->shard->slots > b->shard->quota;
    if (a_above != b_above) {
        return a_above ? -1 : 1;
    }
    bool a_there = a->shard->slots == a->shard->quota + 1;
    bool b_there = b->shard->slots == b->shard->quota + 1;
    if (a_there != b_there) {
        return a_there ? -1 : 1;
    }
    if (a_above && a->shard->slots != b->shard->slots) {
        return a->shard->slots > b->shard->slots ? -1 : 1;
    }
    if (a->rest != b->rest) {
        return a->rest > b->rest ? -1 : 1;
    }
    return a->shard->id < b->shard->id ? -1 : 1;
}

void sc_planner_quotas(struct sc_planner_shard *shards, size_t count,
                       const uint32_t owner[SC_SLOT_COUNT])
{
    count_slots(shards, count, owner);
    uint64_t weights = 0;
    for (size_t i = 0; i < count; i++) {
        weights += shards[i].leaving ? 0 : shards[i].weight;
    }
    assert(weights > 0);
    struct claim *claims = sc_calloc(count, sizeof *claims);
    size_t claim_count = 0;
    uint32_t left = SC_SLOT_COUNT;
    for (size_t i = 0; i < count; i++) {
        uint64_t share = shards[i].leaving ? 0 : (uint64_t)shards[i].weight * SC_SLOT_COUNT;
        shards[i].quota = (uint32_t)(share / weights);
        left -= shards[i].quota;
        if (share % weights != 0) {
            claims[claim_count++] = (struct claim){&shards[i], share % weights};
        }
    }
    assert(left <= claim_count);
    qsort(claims, claim_count, sizeof *claims, by_urgency);
    for (size_t i = 0; i < left; i++) {
        claims[i].shard->quota++;
    }
    free(claims);
}

/* ---- Moves ---- */

struct stretch {
    uint32_t owner;
    uint32_t first, last;
};

static uint32_t stretch_size(const struct stretch *stretch)
{
    return stretch->last - stretch->first + 1;
}

/* The stretches of one owner together, the shortest first. */
static int by_owner_and_size(const void *left, const void *right)
{
    const struct stretch *a = left;
    const struct stretch *b = right;
    if (a->owner != b->owner) {
        return a->owner < b->owner ? -1 : 1;
    }
    if (stretch_size(a) != stretch_size(b)) {
        return stretch_size(a) < stretch_size(b) ? -1 : 1;
    }
    return a->first < b->first ? -1 : 1;
}

static size_t list_stretches(const uint32_t *owner, struct stretch *stretches)
{
    size_t count = 0;
    uint32_t last = 0;
    for (uint32_t first = 0; first < SC_SLOT_COUNT; first = last + 1) {
        last = stretch_end(owner, first);
        stretches[count++] = (struct stretch){owner[first], first, last};
    }
    qsort(stretches, count, sizeof *stretches, by_owner_and_size);
    return count;
}

/* Who takes what others give: the first shard, in the order of ids, that lacks slots. */
struct taker {
    struct sc_planner_shard *shards;
    size_t count;
    size_t at;
    uint32_t taken; /* by shards[at] */
};

static uint32_t next_taker(struct taker *taker)
{
    while (taker->shards[taker->at].slots + taker->taken >= taker->shards[taker->at].quota) {
        taker->at++;
        taker->taken = 0;
        assert(taker->at < taker->count);
    }
    taker->taken++;
    return taker->shards[taker->at].id;
}

uint32_t sc_planner_moves(struct sc_planner_shard *shards, size_t count,
                          const uint32_t owner[SC_SLOT_COUNT], uint32_t after[SC_SLOT_COUNT])
{
    struct stretch *stretches = sc_calloc(SC_SLOT_COUNT, sizeof *stretches);
    struct taker taker = {.shards = shards, .count = count};
    uint32_t moves = 0;
    count_slots(shards, count, owner);
    memcpy(after, owner, SC_SLOT_COUNT * sizeof *after);
    size_t stretch_count = list_stretches(owner, stretches);
    const struct sc_planner_shard *from = NULL;
    uint32_t give = 0; /* what `from` has still too much */
    for (size_t i = 0; i < stretch_count; i++) {
        const struct stretch *stretch = &stretches[i];
        if (from == NULL || from->id != stretch->owner) {
            from = find(shards, count, stretch->owner);
            give = from->slots > from->quota ? from->slots - from->quota : 0;
        }
        uint32_t size = stretch_size(stretch) < give ? stretch_size(stretch) : give;
        for (uint32_t slot = stretch->last + 1 - size; slot <= stretch->last; slot++) {
            after[slot] = next_taker(&taker);
        }
        give -= size;
        moves += size;
    }
    free(stretches);
    return moves;
}
