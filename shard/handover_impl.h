/*
 * The inside of a handover: shared by the files that make up shard/handover.h, and by nobody else.
 *
 *   handover.c        what is asked for, its order, the thread, replies
 *   handover_job.c    how it is carried out
 */
#ifndef SC_SHARD_HANDOVER_IMPL_H
#define SC_SHARD_HANDOVER_IMPL_H

#include "shard/exporter.h"
#include "shard/handover.h"
#include "shard/importer.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/* Something to be carried out. */
struct sc_handover_job {
    struct sc_handover_job *next;
    bool answered; /* already, or nobody has asked */
    struct sc_sp_origin origin;
    enum sc_op op;
    uint64_t deadline_ms;
    struct sc_msg_move move; /* its slices are in `bytes` */
    uint8_t *bytes;
    uint8_t slots[SC_SLOT_COUNT / 8]; /* x.import, x.export */
    struct sc_membership_grant grant; /* x.grant */
};

struct sc_handover {
    /* constant after start */
    struct sc_sp_hub *hub;
    struct sc_bitcask *store;
    struct sc_committer *committer;
    struct sc_membership *membership;
    struct sc_importer *importer; /* the thread's */
    struct sc_exporter *exporter; /* likewise */
    struct sc_move_host host;
    pthread_t thread;

    sem_t wake; /* a job for the thread */
    sem_t committed;
    atomic_bool stopping;

    /* guarded by the hub's lock */
    bool waits; /* the thread waits for a commit */
    struct sc_handover_job *first, *last;
    unsigned jobs;
    uint64_t import_token, export_token; /* 0: none */
    uint64_t coordinator; /* number of the connection that moves come from; 0: none */
    struct sc_handover_job *unsaved; /* a grant that is to be tried again */
    uint64_t retry_ms; /* not before; monotonic */
};

/* Carry out a job, on the thread, without the hub's lock: appends the result to `reply`, unless it
 * is told by the status; or, of an x.read, puts it into `page`. */
enum sc_status sc_handover_execute(struct sc_handover *handover, struct sc_handover_job *job,
                                   struct sc_buf *reply, char *why);
enum sc_status sc_handover_read(struct sc_handover *handover, const struct sc_handover_job *job,
                                struct sc_exporter_page *page, char *why);

#endif
