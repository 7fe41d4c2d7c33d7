#include "common/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *sc_status_str(int status)
{
    switch (status) {
#define SC_STATUS_CASE(name, number, text) \
    case number:                           \
        return text;
        SC_STATUS_LIST(SC_STATUS_CASE)
#undef SC_STATUS_CASE
    default:
        return "unknown status";
    }
}

void sc_why(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, SC_WHY_SIZE, format, args);
    va_end(args);
}

enum sc_status sc_fail(char *why, enum sc_status status, const char *format, ...)
{
    if (why != NULL) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(why, SC_WHY_SIZE, format, args);
        va_end(args);
    }
    return status;
}
