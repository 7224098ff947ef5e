#include "tests/lib/live_notice.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "net/protocol_alarms.h"
#include "tests/lib/samples.h"

#define TRIES 6000 /* of 10 ms */

/* Descriptors that last: one that comes and goes beside the nodes' thread looks like a race to TSan. */
static FILE *heard;
static int standard_error;
static struct fake_cluster *fake;
static const unsigned *counter;
static unsigned counted;
static pthread_t thread;
static atomic_bool said_before_the_end, ended;

void live_notice_listen(void)
{
    if (!heard) {
        heard = tmpfile();
        standard_error = dup(2);
        CHECK(heard && standard_error >= 0);
    }
    fflush(NULL);
    CHECK(ftruncate(fileno(heard), 0) == 0 && lseek(fileno(heard), 0, SEEK_SET) == 0);
    CHECK(dup2(fileno(heard), 2) == 2);
}

void live_notice_restore(void)
{
    fflush(NULL);
    CHECK(dup2(standard_error, 2) == 2);
}

bool live_notice_said(void)
{
    char text[8192];
    ssize_t size = pread(fileno(heard), text, sizeof text - 1, 0);
    CHECK(size >= 0);
    text[size] = '\0';
    return strstr(text, "COMPROMISED") != NULL;
}

void live_notice_send(struct fake_cluster *c)
{
    static uint64_t last; /* what was said is not said again */
    struct message_notice *m = xcalloc(1, sizeof *m);
    struct buffer body = {0};
    *m = (struct message_notice){.total = 1, .count = 1};
    last++;
    m->alarms[0] = (struct message_alarm){.index = last, .kind = ALARM_MODIFIED, .named = 2, .raiser = 2, .first = last,
                                          .last = last, .since_ms = SAMPLE_TIME, .status = ALARM_OPEN,
                                          .saying = 1u << 2};
    message_notice_encode(&body, m);
    fake_cluster_notice(c, buffer_bytes(&body));
    buffer_free(&body);
    free(m);
}

static unsigned count_now(void)
{
    unsigned n;
    FAKE_LOCKED(fake, n = *counter);
    return n;
}

static void *tell(void *data)
{
    int tries = 0;
    (void)data;
    while (count_now() == counted && tries++ < TRIES) usleep(10000);
    live_notice_send(fake);
    while (!live_notice_said() && tries++ < TRIES) usleep(10000);
    said_before_the_end = live_notice_said() && !ended;
    fake_cluster_fault(fake, 0, FAKE_FINE);
    return NULL;
}

void live_notice_begin(struct fake_cluster *c, const unsigned *asked)
{
    fake = c;
    counter = asked;
    counted = count_now();
    said_before_the_end = ended = false;
    live_notice_listen();
    CHECK(pthread_create(&thread, NULL, tell, NULL) == 0);
}

bool live_notice_end(void)
{
    ended = true;
    CHECK(pthread_join(thread, NULL) == 0);
    live_notice_restore();
    return said_before_the_end;
}
