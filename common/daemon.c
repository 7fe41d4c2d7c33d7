#include "common/daemon.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static void stop_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGHUP);
}

void sc_daemon_init(void)
{
    sigset_t set;
    stop_signals(&set);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* a lower limit only means fewer connections */
    }
}

enum sc_status sc_daemon_bind_cpu(unsigned cpu, char *why)
{
    if (cpu >= CPU_SETSIZE) {
        return sc_fail(why, SC_BADREQUEST, "there is no CPU %u", cpu);
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        return sc_fail(why, SC_BADREQUEST, "cannot bind to CPU %u: %s", cpu, strerror(errno));
    }
    return SC_OK;
}

const char *sc_daemon_wait(void)
{
    sigset_t set;
    int number = 0;
    stop_signals(&set);
    while (sigwait(&set, &number) != 0) {
    }
    return number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "SIGHUP";
}

static uint64_t suffix_factor(const char *suffix)
{
    if (*suffix == '\0') {
        return 1;
    }
    if (suffix[1] != '\0') {
        return 0;
    }
    switch (*suffix) {
    case 'K':
    case 'k':
        return UINT64_C(1) << 10;
    case 'M':
    case 'm':
        return UINT64_C(1) << 20;
    case 'G':
    case 'g':
        return UINT64_C(1) << 30;
    default:
        return 0;
    }
}

bool sc_daemon_number(const char *text, bool size, uint64_t least, uint64_t most, uint64_t *value)
{
    if (*text < '0' || *text > '9') {
        return false;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    uint64_t factor = suffix_factor(end);
    if (errno != 0 || factor == 0 || (factor > 1 && !size) || number > UINT64_MAX / factor) {
        return false;
    }
    number *= factor;
    if (number < least || number > most) {
        return false;
    }
    *value = number;
    return true;
}
