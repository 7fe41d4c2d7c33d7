#include "client/job.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * A futex for each caller rather than a condition variable: the waker makes one system call for a
 * sleeper and none for a caller that has not got so far, and sleepers do not meet on a mutex.
 */
enum { RUNNING, WAITED, ENDED };

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    /* Each way of returning (woken, changed, interrupted) is the same to us: look again. */
    (void)syscall(SYS_futex, (uint32_t *)word, operation, value, NULL, NULL, 0);
}

void sc_job_end(struct sc_job *job)
{
    _Atomic uint32_t *state = &job->state;
    if (atomic_exchange_explicit(state, ENDED, memory_order_acq_rel) == WAITED) {
        /* The job may be gone by now: then this wakes nobody, or somebody who looks again. */
        futex(state, FUTEX_WAKE_PRIVATE, INT_MAX);
    }
}

void sc_job_end_part(struct sc_job *job)
{
    struct sc_job *whole = job->whole;
    if (--whole->parts == 0) {
        sc_job_end(whole);
    }
}

bool sc_job_has_ended(const struct sc_job *job)
{
    return atomic_load_explicit(&job->state, memory_order_acquire) == ENDED;
}

void sc_job_wait(struct sc_job *job)
{
    uint32_t state = RUNNING;
    (void)atomic_compare_exchange_strong_explicit(&job->state, &state, WAITED, memory_order_acq_rel,
                                                  memory_order_acquire);
    while (atomic_load_explicit(&job->state, memory_order_acquire) != ENDED) {
        futex(&job->state, FUTEX_WAIT_PRIVATE, WAITED);
    }
}
