#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_CELLS = 12, MIN_WIDTH = 20, TITLE_WIDTH = 46, MIN_TITLE = 16, COUNTER_WIDTH = 9 };

static int terminal_width(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= MIN_WIDTH) {
        return size.ws_col;
    }
    return 80;
}

void progress_end_line(struct progress *p) {
    if (p->line_open) {
        fputc('\n', stderr);
        p->line_open = false;
    }
}

/* Shows a line in place of the open one. Columns are counted in characters, not bytes. */
static void show_line(struct progress *p, const char *line) {
    const int width = terminal_width(); /* the window may have changed */
    fputs("\r\033[K", stderr);
    int columns = 0;
    for (const char *c = line; *c; c++) {
        bool starts_character = ((unsigned char)*c & 0xc0) != 0x80;
        if (starts_character && ++columns >= width) {
            break;
        }
        fputc(*c, stderr);
    }
    fflush(stderr);
    p->line_open = true;
}

static void format_joules(double j, char *buf, size_t size) {
    if (j >= 10000) {
        snprintf(buf, size, "%.1f kJ", j / 1000);
    } else {
        snprintf(buf, size, "%.0f J", j);
    }
}

static void format_eta(const struct run_progress *r, char *buf, size_t size) {
    buf[0] = '\0';
    if (r->done > 0 && r->total > r->done) {
        int left = (int)(r->elapsed_s * (double)(r->total - r->done) / (double)r->done + 0.5);
        snprintf(buf, size, "  ETA %d:%02d", left / 60, left % 60);
    }
}

static void on_begin(void *ctx, size_t index, size_t total, const char *title) {
    struct progress *p = ctx;
    snprintf(p->title, sizeof(p->title), "%s", title);
    snprintf(p->counter, sizeof(p->counter), "%zu/%zu", index, total);
    if (p->is_terminal && !p->quiet) {
        char line[192];
        snprintf(line, sizeof(line), "%7s  %-46s", p->counter, p->title);
        show_line(p, line);
    }
}

static void format_bar(const struct run_progress *r, char *buf, size_t size) {
    int full = r->total > 0 ? (int)(BAR_CELLS * r->done / r->total) : 0;
    size_t len = (size_t)snprintf(buf, size, " ");
    for (int i = 0; i < BAR_CELLS; i++) {
        len += (size_t)snprintf(buf + len, size - len, "%s", i < full ? "█" : "░");
    }
}

static void format_figures(const struct run_progress *r, char *buf, size_t size) {
    char rate[32] = "";
    char energy[48] = "";
    char eta[24];
    char memory[32] = "";
    if (r->tokens >= 0 && r->elapsed_s > 0) {
        snprintf(rate, sizeof(rate), "  %4.0f tok/s", (double)r->tokens / r->elapsed_s);
    }
    if (r->energy_known) {
        char joules[24];
        format_joules(r->joules, joules, sizeof(joules));
        snprintf(energy, sizeof(energy), "  %s%.0f W  %s",
                 r->energy_quality == METER_MODELLED ? "~" : "", r->watts, joules);
    }
    if (r->memory_bytes) {
        snprintf(memory, sizeof(memory), "  %.0f MB", (double)r->memory_bytes / 1e6);
    }
    format_eta(r, eta, sizeof(eta));
    snprintf(buf, size, " %3d %%%s%s%s%s", r->total > 0 ? (int)(100 * r->done / r->total) : 0, eta,
             rate, energy, memory);
}

/* The figures come first: where the line is short the title gives way, then the bar. */
static void on_progress(void *ctx, const struct run_progress *r) {
    struct progress *p = ctx;
    if (!p->is_terminal || p->quiet) {
        return;
    }
    char bar[BAR_CELLS * 3 + 2] = "";
    char figures[128];
    format_figures(r, figures, sizeof(figures));
    int left = terminal_width() - 1 - COUNTER_WIDTH - (int)strlen(figures);
    if (left >= MIN_TITLE + 1 + BAR_CELLS) {
        format_bar(r, bar, sizeof(bar));
        left -= 1 + BAR_CELLS;
    }
    int title = left > TITLE_WIDTH ? TITLE_WIDTH : left < MIN_TITLE ? MIN_TITLE : left;
    char line[384];
    snprintf(line, sizeof(line), "%7s  %-*.*s%s%s", p->counter, title, title, p->title, bar,
             figures);
    show_line(p, line);
}

static const char *color_of(const struct progress *p, const char *status) {
    if (!p->color) {
        return "";
    }
    if (!strcmp(status, "failed")) {
        return "\033[31m";
    }
    return strcmp(status, "done") == 0 ? "\033[32m" : "\033[33m";
}

static void on_end(void *ctx, const char *status, double wall_s, const char *message) {
    struct progress *p = ctx;
    bool bad = strcmp(status, "failed") == 0;
    if (p->quiet && !bad) {
        return;
    }
    if (p->is_terminal) {
        fputs("\r\033[K", stderr);
        p->line_open = false;
    }
    fprintf(stderr, "%7s  %-46s %s%s%s", p->counter, p->title, color_of(p, status), status,
            p->color ? "\033[0m" : "");
    if (!strcmp(status, "done")) {
        fprintf(stderr, " %6.1f s", wall_s);
    }
    fprintf(stderr, "%s%s\n", message[0] ? ": " : "", message);
}

static void on_note(void *ctx, const char *text) {
    struct progress *p = ctx;
    progress_end_line(p);
    fprintf(stderr, "edge-eval: note: %s\n", text);
}

void progress_init(struct progress *p, bool quiet) {
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    bool is_terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    *p = (struct progress){
        .quiet = quiet,
        .is_terminal = is_terminal,
        .color = is_terminal && !(no_color && *no_color),
    };
    p->observer = (struct run_observer){.ctx = p,
                                        .stage_begin = on_begin,
                                        .stage_progress = on_progress,
                                        .stage_end = on_end,
                                        .note = on_note};
}
