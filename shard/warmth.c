#include "shard/warmth.h"

#include "common/clock.h"

#include <unistd.h>

#define MAPPED_PER_MEMORY 4u /* a page of the kernel's tables maps 512: under 1% of the memory */
#define LOOK_NS UINT64_C(200000)
#define GONE_MIN 64u /* pages */
#define GONE_PART 1024u /* of those known: more are too many */
#define CALM_NS UINT64_C(10000000000)

void sc_warmth_init(struct sc_warmth *warmth, struct sc_segment **segments)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    *warmth = (struct sc_warmth){.segments = segments, .mapped_max = memory * MAPPED_PER_MEMORY};
}

bool sc_warmth_read(const struct sc_warmth *warmth, struct sc_segment *segment, uint64_t offset,
                    void *to, size_t size)
{
    return !warmth->restless && sc_mapping_read(&segment->mapping, offset, to, size);
}

static uint64_t mapped(const struct sc_warmth *warmth, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += warmth->segments[i] != NULL ? warmth->segments[i]->mapping.size : 0;
    }
    return bytes;
}

void sc_warmth_note(struct sc_warmth *warmth, size_t count, struct sc_segment *segment,
                    uint64_t size_max, uint64_t offset, size_t size)
{
    struct sc_mapping *mapping = &segment->mapping;
    if (mapping->base == NULL && !mapping->broken) {
        warmth->full = warmth->full || mapped(warmth, count) + size_max > warmth->mapped_max;
        if (!warmth->full) {
            sc_mapping_map(mapping, segment->fd, size_max);
        }
    }
    sc_mapping_note(mapping, offset, size);
}

static void begin_round(struct sc_warmth *warmth)
{
    warmth->next = 0;
    warmth->known = 0;
    warmth->gone = 0;
    warmth->full = false;
}

/* One step; false when the round is over. */
static bool look(struct sc_warmth *warmth, size_t count)
{
    if (warmth->next >= count) {
        return false;
    }
    struct sc_segment *segment = warmth->segments[warmth->next];
    if (segment == NULL || !sc_mapping_look(&segment->mapping, &warmth->known, &warmth->gone)) {
        warmth->next++;
    }
    return true;
}

void sc_warmth_look(struct sc_warmth *warmth, size_t count)
{
    uint64_t begun_ns = sc_clock_mono_ns();
    uint64_t now_ns = begun_ns;
    bool more = true;
    while (more && now_ns - begun_ns < LOOK_NS) {
        more = look(warmth, count);
        now_ns = sc_clock_mono_ns();
    }
    if (warmth->gone >= GONE_MIN && warmth->gone * GONE_PART > warmth->known) {
        warmth->restless = true;
        warmth->evicted_ns = now_ns;
        begin_round(warmth);
    } else if (!more) {
        warmth->restless = warmth->restless && now_ns - warmth->evicted_ns < CALM_NS;
        begin_round(warmth);
    }
}
