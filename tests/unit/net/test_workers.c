/* Tasks on threads: each is done once, on the loop, whatever becomes of its owner. */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pthread.h>

#include <uv.h>

#include "net/workers.h"
#include "tests/lib/unit.h"

#define TASKS 10000

struct bed {
    uv_loop_t loop;
    struct workers *workers;
    pthread_t loop_thread;
    atomic_uint begun, ran, on_loop;
    unsigned done, canceled;
    uv_sem_t gate; /* what a blocked task waits for */
};

struct job {
    struct worker_task task; /* the first member */
    struct bed *bed;
    unsigned times; /* that `done` came */
    bool blocked, again;
};

static void run(struct worker_task *task)
{
    struct job *j = (struct job *)task;
    atomic_fetch_add(&j->bed->begun, 1);
    if (pthread_equal(pthread_self(), j->bed->loop_thread)) atomic_fetch_add(&j->bed->on_loop, 1);
    if (j->blocked) uv_sem_wait(&j->bed->gate);
    atomic_fetch_add(&j->bed->ran, 1);
}

static void done(struct worker_task *task, bool canceled)
{
    struct job *j = (struct job *)task;
    assert_true(pthread_equal(pthread_self(), j->bed->loop_thread));
    j->times++;
    j->bed->done++;
    if (canceled) j->bed->canceled++;
    if (!j->again || canceled) return;
    j->again = false;
    workers_queue(j->bed->workers, task);
}

static void bed_open(struct bed *bed, unsigned threads)
{
    *bed = (struct bed){.loop_thread = pthread_self()};
    assert_int_equal(uv_loop_init(&bed->loop), 0);
    assert_int_equal(uv_sem_init(&bed->gate, 0), 0);
    bed->workers = workers_new(&bed->loop, &(struct workers_options){.threads = threads});
    assert_non_null(bed->workers);
}

static void bed_close(struct bed *bed)
{
    uv_run(&bed->loop, UV_RUN_DEFAULT); /* ends when the workers have freed themselves */
    assert_int_equal(uv_loop_close(&bed->loop), 0);
    uv_sem_destroy(&bed->gate);
}

static struct job *jobs_new(struct bed *bed, unsigned count)
{
    struct job *jobs = calloc(count, sizeof *jobs);
    assert_non_null(jobs);
    for (unsigned i = 0; i < count; i++)
        jobs[i] = (struct job){.task = {.run = run, .done = done}, .bed = bed};
    return jobs;
}

static void each_runs_once_and_is_done_on_the_loop(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, 4);
    struct job *jobs = jobs_new(&bed, TASKS);
    for (unsigned i = 0; i < TASKS; i++) {
        workers_queue(bed.workers, &jobs[i].task);
        if (i % 64 == 0) uv_run(&bed.loop, UV_RUN_NOWAIT);
    }
    while (workers_count(bed.workers) > 0)
        uv_run(&bed.loop, UV_RUN_ONCE);
    assert_int_equal(bed.done, TASKS);
    assert_int_equal(bed.canceled, 0);
    assert_int_equal(atomic_load(&bed.ran), TASKS);
    assert_int_equal(atomic_load(&bed.on_loop), 0);
    for (unsigned i = 0; i < TASKS; i++)
        assert_int_equal(jobs[i].times, 1);
    workers_stop(bed.workers, NULL, NULL);
    bed_close(&bed);
    free(jobs);
}

static void done_may_queue_again(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, 1);
    struct job *jobs = jobs_new(&bed, 100);
    for (unsigned i = 0; i < 100; i++) {
        jobs[i].again = true;
        workers_queue(bed.workers, &jobs[i].task);
    }
    while (workers_count(bed.workers) > 0)
        uv_run(&bed.loop, UV_RUN_ONCE);
    assert_int_equal(atomic_load(&bed.ran), 200);
    workers_stop(bed.workers, NULL, NULL);
    bed_close(&bed);
    free(jobs);
}

/* Stopping waits for what runs, starts nothing more, and every task is still told. */
static void *let_go(void *data)
{
    struct bed *bed = data;
    uv_sleep(50); /* by then workers_stop waits, or is about to: right either way */
    uv_sem_post(&bed->gate);
    uv_sem_post(&bed->gate);
    return NULL;
}

static void stopping_waits_for_what_runs_and_cancels_the_rest(void **state)
{
    (void)state;
    struct bed bed;
    pthread_t opener;
    bed_open(&bed, 2);
    struct job *jobs = jobs_new(&bed, 50);
    for (unsigned i = 0; i < 50; i++) {
        jobs[i].blocked = true;
        workers_queue(bed.workers, &jobs[i].task);
    }
    while (atomic_load(&bed.begun) < 2)
        uv_sleep(1);
    assert_int_equal(pthread_create(&opener, NULL, let_go, &bed), 0);
    workers_stop(bed.workers, NULL, NULL);
    assert_int_equal(pthread_join(opener, NULL), 0);
    assert_int_equal(atomic_load(&bed.ran), 2);
    assert_int_equal(bed.done, 0); /* never from within the call */
    bed_close(&bed);
    assert_int_equal(atomic_load(&bed.ran), 2);
    assert_int_equal(bed.done, 50);
    assert_int_equal(bed.canceled, 50); /* also the two that ran: their owner has stopped */
    free(jobs);
}

static void stopping_without_work(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, 0);
    workers_stop(bed.workers, NULL, NULL);
    bed_close(&bed);
}

/* Where no thread can be begun the work is done all the same, and as soon as one can, not by the loop. */
static void without_threads_the_loop_works(void **state)
{
    (void)state;
    struct bed bed;
    pthread_attr_t usual, huge;
    assert_int_equal(pthread_getattr_default_np(&usual), 0);
    assert_int_equal(pthread_getattr_default_np(&huge), 0);
    assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 46), 0); /* more than there are addresses */
    bed_open(&bed, 2);
    struct job *jobs = jobs_new(&bed, 20);
    assert_int_equal(pthread_setattr_default_np(&huge), 0);
    for (unsigned i = 0; i < 10; i++) workers_queue(bed.workers, &jobs[i].task);
    assert_int_equal(pthread_setattr_default_np(&usual), 0);
    assert_int_equal(atomic_load(&bed.on_loop), 10);
    assert_int_equal(bed.done, 0); /* never from within the call */
    for (unsigned i = 10; i < 20; i++) workers_queue(bed.workers, &jobs[i].task);
    while (workers_count(bed.workers) > 0) uv_run(&bed.loop, UV_RUN_ONCE);
    assert_int_equal(bed.done, 20);
    assert_int_equal(bed.canceled, 0);
    assert_int_equal(atomic_load(&bed.on_loop), 10);
    workers_stop(bed.workers, NULL, NULL);
    bed_close(&bed);
    free(jobs);
    pthread_attr_destroy(&usual);
    pthread_attr_destroy(&huge);
}

struct nice_job {
    struct worker_task task; /* the first member */
    int nice;
    bool done;
};

static void note_niceness(struct worker_task *task)
{
    ((struct nice_job *)task)->nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
}

static void note_done(struct worker_task *task, bool canceled)
{
    ((struct nice_job *)task)->done = !canceled;
}

/* Nicer than who made them, which stays as it is; and nothing waits for ever, how often they give way. */
static void nice_threads(void **state)
{
    (void)state;
    enum { JOBS = 200, NICENESS = 3, NICEST = 19 };
    static struct nice_job jobs[JOBS];
    uv_loop_t loop;
    int own = getpriority(PRIO_PROCESS, 0), expected = own + NICENESS > NICEST ? NICEST : own + NICENESS;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct workers *w = workers_new(&loop, &(struct workers_options){.threads = 2, .niceness = NICENESS});
    assert_non_null(w);
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i].task = (struct worker_task){.run = note_niceness, .done = note_done};
        workers_queue(w, &jobs[i].task);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_true(jobs[i].done);
        assert_int_equal(jobs[i].nice, expected);
    }
    assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
    workers_stop(w, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_runs_once_and_is_done_on_the_loop),
        cmocka_unit_test(done_may_queue_again),
        cmocka_unit_test(stopping_waits_for_what_runs_and_cancels_the_rest),
        cmocka_unit_test(stopping_without_work),
        cmocka_unit_test(without_threads_the_loop_works),
        cmocka_unit_test(nice_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
