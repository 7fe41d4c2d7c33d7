/*
 * Segments: the data files. A segment is one of them, open.
 *
 *   offset size   header of a data file, SC_SEGMENT_HEADER_SIZE bytes
 *        0    8   "SCASKDAT"
 *        8    4   format version, 1
 *       12    4   shard id; 0 before the directory belonged to a cluster
 *       16   16   cluster id; zeros likewise
 *       32    8   file number, the one in its name
 *       40    8   salt, random, part of every record's checksum
 *       48    8   when it was created, microseconds since 1970
 *       56    8   XXH3_64bits (seed 0) of the 56 bytes before
 *       64        records (shard/record.h) to the end of the file
 *
 * Integers are little-endian. The manifest knows number and salt too, so records stay readable when
 * a header is damaged.
 *
 * Space on disk is allocated ahead of the end of the file, so that a full disk is noticed before a
 * record is accepted. The last SC_SEGMENT_RESERVE bytes of it serve deletions only: they go on for
 * a while when puts are refused. And what puts leave of the disk, SC_SEGMENT_DISK_RESERVE at least,
 * serves manifests, merges and moves: by which a shard whose disk is full becomes smaller.
 *
 * The struct belongs to the owner of the store, but for what is constant after open.
 */
#ifndef SC_SHARD_SEGMENT_H
#define SC_SHARD_SEGMENT_H

#include "common/status.h"
#include "shard/files.h"
#include "shard/mapping.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SC_SEGMENT_HEADER_SIZE 64u
#define SC_SEGMENT_SIZE_MAX (UINT64_C(2) << 30)
#define SC_SEGMENT_RESERVE (UINT64_C(64) << 10)
#define SC_SEGMENT_DISK_RESERVE (UINT64_C(2) << 20)

struct sc_segment {
    /* constant after open */
    uint64_t number;
    uint64_t salt;
    uint32_t index; /* in the store's table; the `file` of locations */
    int fd;

    uint64_t size; /* to the end of the newest record, whether it is in the file already or not */
    uint64_t allocated; /* space is taken up to here */
    uint64_t allocate_step;
    uint64_t full_size; /* what it is going to have about, which bounds the steps; 0: not known */
    uint64_t zeroed; /* the file ends here, with zeros behind the records, if this exceeds `size` */
    bool sealed; /* takes no more records */
    bool settled; /* sealed, whole in the file and synced, and the manifest knows its size */

    /* Records from `log_offset` on were written by this process: the one there begins at position
     * `log_position` of the log. UINT64_MAX: none. */
    uint64_t log_offset;
    uint64_t log_position;

    /* what is in it */
    uint64_t live_bytes; /* of records that the keydir points to */
    uint64_t tombstones; /* deletions: tombstones and clears */
    uint64_t deletion_bytes; /* of these */
    uint64_t deletion_max; /* the largest version of one; 0: there is none */
    uint64_t version_min; /* the smallest version of any record; UINT64_MAX: there is none */
    uint64_t clean; /* no deletion up to this version hides anything in it (shard/manifest.h) */

    uint32_t readers; /* while there are any, it must not be closed (shard/fetch.h) */

    /* merging */
    bool damaged; /* something in it cannot be read, or counted: it is never merged away */
    bool untended; /* there is damage that was not seen to yet (shard/care.h): likewise, until then
                    */
    bool tended; /* there was, and it has been: a merge takes it out */
    bool asked; /* to be merged whatever the gain */
    bool merging; /* is being merged */
    bool retired; /* was merged: no part of the store any more */
    bool doomed; /* ... and to be removed when nobody needs it (shard/reap.h) */
    bool keep_file; /* ... but for its file */
    uint64_t doomed_era;
    uint32_t read_failures; /* of merges */

    struct sc_mapping mapping;

    /* its hint */
    uint64_t hinted; /* the hint covers the file up to here; 0: there is none */
    uint64_t hint_size; /* of the hint file, as long as it covers `hint_noted` (shard/pressure.h) */
    uint64_t hint_noted;
    bool hint_hopeless; /* cannot be built: do not try again */
};

/* Who the files belong to. */
struct sc_segment_owner {
    uint8_t cluster[16];
    uint32_t shard_id;
};

/* Creates a data file, durably: header written, file and directory synced, space allocated. On
 * failure nothing is left behind but what a crash would leave. */
enum sc_status sc_segment_create(const struct sc_files *files, uint64_t number, uint64_t salt,
                                 const struct sc_segment_owner *owner, struct sc_segment **segment,
                                 char *why);

/* Opens an existing one and stores its size as it is on disk. The header is not looked at. SC_IO;
 * SC_NOTFOUND: there is no such file. */
enum sc_status sc_segment_open(const struct sc_files *files, uint64_t number, uint64_t salt,
                               bool read_only, struct sc_segment **segment, char *why);

/* Stands for a file that is missing, and reads as an empty one. */
enum sc_status sc_segment_open_missing(uint64_t number, uint64_t salt, struct sc_segment **segment,
                                       char *why);

/* Closes and frees; NULL is allowed. */
void sc_segment_close(struct sc_segment *segment);

/* Checks the header: SC_OK, or SC_CORRUPT (`why` tells what is wrong; a newer format version is
 * told apart by `too_new`), SC_IO. */
enum sc_status sc_segment_check(const struct sc_segment *segment, bool *too_new, char *why);

/* Judges the bytes of a header, of which there may be too few: SC_OK or SC_CORRUPT, as above. */
enum sc_status sc_segment_judge(const uint8_t *header, size_t size, uint64_t number, uint64_t salt,
                                bool *too_new, char *why);

/* Which file a header says that it is of; false: it is damaged, or of another format. */
bool sc_segment_identify(const uint8_t header[SC_SEGMENT_HEADER_SIZE], uint64_t *number,
                         uint64_t *salt);

/* Makes sure that `size` more bytes have space on disk; `small`: may use the reserves. False: they
 * have not, errno says why. */
bool sc_segment_allocate(struct sc_segment *segment, uint64_t size, bool small);

/* Accounting: the segment has one more record. */
static inline void sc_segment_note(struct sc_segment *segment, bool deletion, uint64_t version,
                                   uint64_t size)
{
    if (version < segment->version_min) {
        segment->version_min = version;
    }
    if (deletion) {
        segment->tombstones++;
        segment->deletion_bytes += size;
        segment->deletion_max = version > segment->deletion_max ? version : segment->deletion_max;
    }
}

/* Forgets all that was noted. */
static inline void sc_segment_unnote(struct sc_segment *segment)
{
    segment->tombstones = 0;
    segment->deletion_bytes = 0;
    segment->deletion_max = 0;
    segment->version_min = UINT64_MAX;
}

/* Bytes that nobody needs: of records that were overwritten, deleted or have expired. Deletions are
 * not counted. */
static inline uint64_t sc_segment_dead_bytes(const struct sc_segment *segment)
{
    uint64_t used = SC_SEGMENT_HEADER_SIZE + segment->live_bytes + segment->deletion_bytes;
    return segment->size > used ? segment->size - used : 0;
}

/* Accounting: the keydir has begun or ceased to point to a record of this size. */
static inline void sc_segment_live(struct sc_segment *segment, uint64_t size)
{
    segment->live_bytes += size;
}
static inline void sc_segment_dead(struct sc_segment *segment, uint64_t size)
{
    segment->live_bytes -= size;
}

#endif
