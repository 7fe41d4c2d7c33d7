#include "shard/pressure.h"

#include "shard/bitcask_impl.h"

#include <sys/stat.h>

#define SLACK_PART 16u /* of a data file */
#define BEGUN_SIZE (UINT64_C(1) << 20) /* space that a file takes when it is begun */
#define HINT_SHARE_MAX 0.1 /* of a data file that its hint takes, unless records are tiny */

/* What is on disk, and what of it is needed. */
struct sums {
    uint64_t disk, live;
    uint64_t hints; /* bytes of hints */
    uint64_t hinted; /* bytes of the files that have them */
};

/* The size of a segment's hint, which is looked up once. */
static uint64_t hint_size(const struct sc_bitcask *store, struct sc_segment *segment)
{
    if (segment->hint_noted != segment->hinted) {
        char name[SC_FILES_NAME_SIZE];
        struct stat stat;
        sc_files_hint_name(name, segment->number);
        bool there = fstatat(store->files.dir_fd, name, &stat, 0) == 0;
        segment->hint_size = there ? (uint64_t)stat.st_size : 0;
        segment->hint_noted = segment->hinted;
    }
    return segment->hint_size;
}

static void add(struct sums *sums, const struct sc_bitcask *store, struct sc_segment *segment)
{
    uint64_t hint = hint_size(store, segment);
    sums->disk += (segment->size > segment->allocated ? segment->size : segment->allocated) + hint;
    sums->hints += hint;
    sums->hinted += hint > 0 ? segment->hinted : 0;
    sums->live += segment->doomed ? 0 : segment->live_bytes + segment->deletion_bytes;
}

static struct sums sum_up(const struct sc_bitcask *store)
{
    struct sums sums = {0};
    for (size_t i = 0; i < store->segment_count; i++) {
        struct sc_segment *segment = store->segments[i];
        bool kept = segment == NULL || segment->damaged || segment->untended ||
                    (segment->doomed && store->pins != NULL);
        if (!kept) {
            add(&sums, store, segment);
        }
    }
    return sums;
}

static uint64_t less(uint64_t from, uint64_t what)
{
    return from > what ? from - what : 0;
}

void sc_pressure_look(struct sc_pressure *pressure, const struct sc_bitcask *store,
                      const struct sc_merge_figures *merge, struct sc_pressure_figures *figures)
{
    struct sums sums = sum_up(store);
    uint64_t file = store->writer.file_size_max;
    file = file > SC_PRESSURE_FILE_MIN ? file : SC_PRESSURE_FILE_MIN;
    uint64_t slack = file / SLACK_PART;
    double hint_share = sums.hinted > 0 ? (double)sums.hints / (double)sums.hinted : 0;
    /* An output has at most what is live; the active file gets a hint, and so do outputs. */
    uint64_t output = sums.live < file ? sums.live : file;
    uint64_t hints = (uint64_t)(hint_share * (double)(file + output));
    uint64_t limit;
    figures->disk = sums.disk + merge->output_bytes;
    double excess = hint_share > HINT_SHARE_MAX ? hint_share - HINT_SHARE_MAX : 0;
    figures->bound = 2 * sums.live + 2 * file + (uint64_t)(excess * 2 * (double)sums.live);
    limit =
        less(figures->bound, less(output, merge->output_bytes) + hints + 2 * slack + BEGUN_SIZE);
    figures->pressed = figures->disk + file / 2 > limit;
    if (figures->disk <= limit) {
        pressure->lowest = 0;
    } else if (pressure->lowest == 0 || figures->disk < pressure->lowest) {
        pressure->lowest = figures->disk;
    }
    uint64_t ceiling = pressure->lowest > 0 ? pressure->lowest + slack : limit;
    figures->room = less(ceiling, figures->disk);
}
