#include "coordinator/draft.h"

#include "coordinator/planner.h"

#include <assert.h>
#include <stdlib.h>

static struct sc_planner_shard *planner_shards(const struct sc_cluster *cluster)
{
    struct sc_planner_shard *shards = sc_calloc(cluster->shard_count, sizeof *shards);
    for (size_t i = 0; i < cluster->shard_count; i++) {
        const struct sc_cluster_shard *shard = &cluster->shards[i];
        shards[i] = (struct sc_planner_shard){.id = shard->id,
                                              .weight = shard->weight,
                                              .leaving = shard->state == SC_CLUSTER_LEAVING};
    }
    return shards;
}

uint32_t sc_draft_plan(const struct sc_cluster *cluster, uint32_t after[SC_SLOT_COUNT])
{
    struct sc_planner_shard *shards = planner_shards(cluster);
    sc_planner_quotas(shards, cluster->shard_count, cluster->owner);
    uint32_t moves = sc_planner_moves(shards, cluster->shard_count, cluster->owner, after);
    free(shards);
    return moves;
}

static int by_shards(const void *left, const void *right)
{
    const struct sc_draft_pair *a = left;
    const struct sc_draft_pair *b = right;
    if (a->from != b->from) {
        return a->from < b->from ? -1 : 1;
    }
    return a->to != b->to ? (a->to < b->to ? -1 : 1) : 0;
}

/* A pair for each slot that moves, sorted, then equal ones joined. */
static void list_pairs(struct sc_draft *draft, const uint32_t *owner)
{
    size_t count = 0;
    draft->pairs = sc_calloc(draft->moves, sizeof *draft->pairs);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        if (owner[slot] != draft->after[slot]) {
            draft->pairs[count++] = (struct sc_draft_pair){owner[slot], draft->after[slot], 1};
        }
    }
    qsort(draft->pairs, count, sizeof *draft->pairs, by_shards);
    for (size_t i = 0; i < count; i++) {
        struct sc_draft_pair *last = &draft->pairs[draft->pair_count];
        if (draft->pair_count > 0 && by_shards(last - 1, &draft->pairs[i]) == 0) {
            last[-1].slots++;
        } else {
            *last = draft->pairs[i];
            draft->pair_count++;
        }
    }
}

static void plan(struct sc_draft *draft, const struct sc_cluster *cluster)
{
    draft->moves = sc_draft_plan(cluster, draft->after);
    if (draft->moves > 0) {
        list_pairs(draft, cluster->owner);
    }
}

size_t sc_draft_find(const struct sc_draft *draft, uint32_t from, uint32_t to)
{
    struct sc_draft_pair pair = {from, to, 0};
    const struct sc_draft_pair *found =
        bsearch(&pair, draft->pairs, draft->pair_count, sizeof pair, by_shards);
    assert(found != NULL);
    return (size_t)(found - draft->pairs);
}

bool sc_draft_make(struct sc_draft *draft, const struct sc_cluster *cluster,
                   const struct sc_change *change)
{
    *draft = (struct sc_draft){.moves = 0};
    if (change == NULL) {
        plan(draft, cluster);
        return true;
    }
    struct sc_cluster changed;
    sc_cluster_copy(cluster, &changed);
    bool fits = sc_change_apply(change, &changed);
    if (fits) {
        plan(draft, &changed);
    }
    sc_cluster_fini(&changed);
    return fits;
}

void sc_draft_fini(struct sc_draft *draft)
{
    free(draft->pairs);
    draft->pairs = NULL;
    draft->pair_count = 0;
}
