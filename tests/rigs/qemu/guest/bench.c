/* bench DEVICE read|write|random SIZE COUNT THREADS: direct transfers; prints MB/s and latency in microseconds.
   busybox's dd knows no O_DIRECT, and without it the page cache is measured. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int fd, threads;
static long size, count, blocks;
static int kind;
static double *took;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *work(void *number)
{
    void *buffer;
    long i;
    if (posix_memalign(&buffer, 4096, size)) exit(1);
    memset(buffer, 0x5a, size);
    for (i = (long)number; i < count; i += threads) {
        /* Knuth's multiplier: the same sequence of places on every device. */
        long block = kind == 2 ? (long)((uint64_t)i * 2654435761u % (uint64_t)blocks) : i % blocks;
        double begin = now();
        long done = kind == 1 ? pwrite(fd, buffer, size, block * size) : pread(fd, buffer, size, block * size);
        if (done != size) { perror("transfer"); exit(1); }
        took[i] = now() - begin;
    }
    return 0;
}

int main(int argc, char **argv)
{
    pthread_t all[64];
    double begin, total;
    long i;
    if (argc != 6) return 2;
    kind = !strcmp(argv[2], "write") ? 1 : !strcmp(argv[2], "random") ? 2 : 0;
    size = atol(argv[3]);
    count = atol(argv[4]);
    threads = atoi(argv[5]);
    if (size <= 0 || count <= 0 || threads < 1 || threads > 64) return 2;
    fd = open(argv[1], (kind == 1 ? O_RDWR : O_RDONLY) | O_DIRECT);
    if (fd < 0) { perror(argv[1]); return 1; }
    blocks = lseek(fd, 0, SEEK_END) / size;
    took = calloc(count, sizeof *took);
    if (blocks < 1 || !took) return 1;
    begin = now();
    for (i = 0; i < threads; i++) if (pthread_create(&all[i], 0, work, (void *)i)) return 1;
    for (i = 0; i < threads; i++) pthread_join(all[i], 0);
    if (kind == 1 && fsync(fd)) { perror("fsync"); return 1; }
    total = now() - begin;
    qsort(took, count, sizeof *took, compare);
    printf("%.3f %.0f %.0f %.0f\n", (double)size * count / total, took[0], took[count / 2], took[count * 99 / 100]);
    return 0;
}
