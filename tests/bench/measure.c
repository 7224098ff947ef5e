#include "tests/bench/measure.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static double cpu_us(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *after = strrchr(text, ')'); /* the name may hold anything */
    unsigned long user = 0, system = 0;
    if (!after || sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

/* Sums the numbers of lines that begin with `name` in a file of /proc. */
static uint64_t sum_lines(pid_t pid, const char *file, const char *name)
{
    char path[64], line[256];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0) {
            const char *colon = strchr(line, ':');
            if (colon) sum += strtoull(colon + 1, NULL, 10);
        }
    fclose(f);
    return sum;
}

struct usage usage_of(pid_t pid)
{
    /* Pages of the store's file count as private while nobody else maps it, and as dirty until they are written: not
     * these. And not smaps_rollup, which takes 20 ms to walk through a large store. */
    return (struct usage){.cpu_us = cpu_us(pid), .private_kib = sum_lines(pid, "status", "RssAnon")};
}

struct usage usage_self(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (struct usage){.cpu_us = (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e6 +
                                    (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec)};
}

/* The process' own write_bytes counts whole folios (up to a MiB for 4 KiB written,
 * Linux 6.16 on ext4), so the device is asked: on a machine that does nothing else. */
uint64_t device_written(const char *folder)
{
    struct stat st;
    char path[96];
    unsigned long sectors = 0;
    if (stat(folder, &st) != 0) return 0;
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/stat", major(st.st_dev), minor(st.st_dev));
    FILE *f = fopen(path, "r");
    if (!f) return 0; /* tmpfs, or no sysfs */
    if (fscanf(f, "%*u %*u %*u %*u %*u %*u %lu", &sectors) != 1) sectors = 0;
    fclose(f);
    return (uint64_t)sectors * 512;
}

static uint64_t blocks;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path;
    (void)at;
    if (type == FTW_F) blocks += (uint64_t)st->st_blocks * 512;
    return 0;
}

uint64_t stored_bytes(const char *folder)
{
    blocks = 0;
    nftw(folder, add_file, 16, FTW_PHYS);
    return blocks;
}

void samples_add(struct samples *s, uint64_t ns)
{
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 4096;
        uint32_t *us = realloc(s->us, capacity * sizeof *us);
        if (!us) abort();
        s->us = us;
        s->capacity = capacity;
    }
    s->us[s->count++] = (uint32_t)(ns / 1000);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

double samples_percentile(struct samples *s, double percent)
{
    if (s->count == 0) return 0;
    qsort(s->us, s->count, sizeof s->us[0], compare);
    size_t i = (size_t)(percent / 100 * (double)(s->count - 1) + 0.5);
    return s->us[i] / 1000.0;
}

void samples_clear(struct samples *s)
{
    free(s->us);
    *s = (struct samples){0};
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct spread spread_of(const double *values, unsigned count)
{
    double sorted[SPREAD_MOST];
    if (count == 0) return (struct spread){0};
    if (count > SPREAD_MOST) count = SPREAD_MOST;
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_doubles);
    double median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
    return (struct spread){median, sorted[0], sorted[count - 1], sorted[count / 4], sorted[count - 1 - count / 4]};
}
