#include "tools/progress.h"

#include <string.h>
#include <sys/ioctl.h>

#include "common/clock.h"

#define DRAW_NS UINT64_C(100000000)

void sc_progress_init(struct sc_progress *progress, FILE *out, bool enabled, const char *what,
                      const char *unit)
{
    *progress = (struct sc_progress){
        .out = out, .enabled = enabled, .what = what, .unit = unit, .start_ns = sc_clock_mono_ns()};
}

static int terminal_width(FILE *out)
{
    struct winsize size;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
        return 80;
    }
    return size.ws_col;
}

static void draw_bar(FILE *out, int width, uint64_t done, uint64_t total)
{
    double part = done >= total ? 1.0 : (double)done / (double)total;
    int filled = (int)(part * width);
    fputc('[', out);
    for (int i = 0; i < width; i++) {
        fputc(i < filled ? '#' : '.', out);
    }
    fprintf(out, "] %3d%%  ", (int)(part * 100));
}

void sc_progress_update(struct sc_progress *progress, uint64_t done, uint64_t total, uint64_t count)
{
    uint64_t now = sc_clock_mono_ns();
    if (!progress->enabled || now - progress->drawn_ns < DRAW_NS) {
        return;
    }
    progress->drawn_ns = now;
    char number[32];
    char rate_number[32];
    double seconds = sc_progress_seconds(progress);
    uint64_t rate = seconds > 0 ? (uint64_t)((double)count / seconds) : 0;
    fprintf(progress->out, "\r\033[K%s  ", progress->what);
    int width = terminal_width(progress->out) - 60;
    if (total > 0 && width >= 5) {
        draw_bar(progress->out, width < 40 ? width : 40, done, total);
    }
    fprintf(progress->out, "%s %s  %s/s", sc_progress_number(count, number), progress->unit,
            sc_progress_number(rate, rate_number));
    fflush(progress->out);
}

void sc_progress_clear(struct sc_progress *progress)
{
    if (progress->enabled && progress->drawn_ns != 0) {
        fputs("\r\033[K", progress->out);
        fflush(progress->out);
    }
}

double sc_progress_seconds(const struct sc_progress *progress)
{
    return (double)(sc_clock_mono_ns() - progress->start_ns) / 1e9;
}

const char *sc_progress_number(uint64_t number, char *text)
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    char *at = text;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) {
            *at++ = ',';
        }
        *at++ = digits[i];
    }
    *at = '\0';
    return text;
}
