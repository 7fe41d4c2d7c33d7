#include "client/intake.h"

void sc_intake_init(struct sc_intake *intake)
{
    atomic_init(&intake->newcomers, NULL);
    atomic_init(&intake->idle, true);
    intake->queue = NULL;
    intake->tail = NULL;
}

bool sc_intake_push(struct sc_intake *intake, struct sc_job *job)
{
    job->next = atomic_load(&intake->newcomers);
    while (!atomic_compare_exchange_weak(&intake->newcomers, &job->next, job)) {
    }
    /* Either sc_intake_rest, which tells that the intake is idle before it looks at the newcomers
     * for the last time, sees the job, or this sees the intake idle. */
    return atomic_load(&intake->idle) && atomic_exchange(&intake->idle, false);
}

void sc_intake_defer(struct sc_intake *intake)
{
    atomic_store(&intake->idle, true);
}

void sc_intake_take(struct sc_intake *intake)
{
    struct sc_job *top = atomic_exchange(&intake->newcomers, NULL);
    if (top == NULL) {
        return;
    }
    struct sc_job *last = top; /* of the queue to be: the newest is on top */
    struct sc_job *first = NULL;
    while (top != NULL) {
        struct sc_job *below = top->next;
        top->next = first;
        first = top;
        top = below;
    }
    if (intake->tail == NULL) {
        intake->queue = first;
    } else {
        intake->tail->next = first;
    }
    intake->tail = last;
}

void sc_intake_pop(struct sc_intake *intake)
{
    intake->queue = intake->queue->next;
    if (intake->queue == NULL) {
        intake->tail = NULL;
    }
}

void sc_intake_put_back(struct sc_intake *intake, struct sc_job *job)
{
    job->next = intake->queue;
    intake->queue = job;
    if (intake->tail == NULL) {
        intake->tail = job;
    }
}

bool sc_intake_rest(struct sc_intake *intake, bool idle)
{
    atomic_store(&intake->idle, idle);
    return idle && atomic_load(&intake->newcomers) != NULL;
}
