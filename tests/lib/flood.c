#include "tests/lib/flood.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/lib/unit.h"

/* A sanitizer takes room beside each allocation, and AddressSanitizer keeps up to 256 MiB of what was freed
 * (quarantine_size_mb), however little the program has. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_FACTOR 12
#define MEMORY_FREED_MIB 256
#else
#define MEMORY_FACTOR 1
#define MEMORY_FREED_MIB 0
#endif

static bool equal; /* in an attacker's process: it has the nodes' priority, and gives way to nobody */

uint64_t flood_now_ms(void) { return clock_monotonic_ns() / 1000000; }

unsigned flood_number(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text && *text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

unsigned flood_raise_files(unsigned most)
{
    struct rlimit files;
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    rlim_t hard = files.rlim_max;
    if (files.rlim_max < most) files.rlim_max = most;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
        files.rlim_cur = files.rlim_max = hard;
        CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
    }
    return files.rlim_cur > UINT32_MAX ? UINT32_MAX : (unsigned)files.rlim_cur;
}

void *flood_shared(size_t size)
{
    void *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    return m;
}

/* --- memory --- */

uint64_t flood_kib(unsigned mib) { return ((uint64_t)mib * MEMORY_FACTOR + MEMORY_FREED_MIB) * 1024; }

void flood_assert_memory(const struct attacker *a, unsigned node, uint64_t before_kib, unsigned mib,
                         const char *meanwhile)
{
    uint64_t now = attacker_memory_kib(a, node);
    printf("  %s: %llu KiB of private memory, %lld more\n", meanwhile, (unsigned long long)now,
           (long long)(now - before_kib));
    if (now > before_kib + flood_kib(mib))
        fail_msg("%s the node takes %llu KiB more", meanwhile, (unsigned long long)(now - before_kib));
}

/* --- connections --- */

static bool is_through(int socket, const struct sockaddr_in *to, int ms)
{
    if (connect(socket, (const struct sockaddr *)to, sizeof *to) == 0) return true;
    struct pollfd wait = {.fd = socket, .events = POLLOUT};
    return errno == EINPROGRESS && poll(&wait, 1, ms) == 1 && !flood_is_cut(socket);
}

/* ms: so long. 0: as long as the kernel tries. */
static int dial(const struct testbed *bed, unsigned node, unsigned x, int ms)
{
    flood_give_way();
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(bed->ports[node]),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + x)};
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (ms ? SOCK_NONBLOCK : 0), 0), on = 1;
    if (s < 0) testbed_fail(bed, "no socket is left");
    setsockopt(s, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    CHECK(bind(s, (struct sockaddr *)&from, sizeof from) == 0);
    if (is_through(s, &to, ms)) return s;
    close(s);
    return -1;
}

int flood_dial(const struct testbed *bed, unsigned node, unsigned x) { return dial(bed, node, x, 0); }

void flood_close_all(int *sockets, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (sockets[i] >= 0) close(sockets[i]);
}

#define OF_AN_ADDRESS 3000 /* less than LIMIT_CONNECTIONS_PER_ADDRESS */
#define DIAL_MS 20 /* else the node's line is full: the kernel asks again after a second, when it has long been empty */

int *flood_keep_open(const struct testbed *bed, unsigned node, unsigned x, unsigned count, const atomic_bool *enough,
                     void (*say)(int socket, unsigned number, void *data), void *data)
{
    int *sockets = xcalloc(count, sizeof *sockets);
    for (unsigned i = 0; i < count; i++)
        sockets[i] = -1;
    for (; !atomic_load(enough); usleep(20000))
        for (unsigned i = 0; i < count && !atomic_load(enough); i++) {
            if (sockets[i] >= 0 && !flood_is_cut(sockets[i])) continue;
            if (sockets[i] >= 0) close(sockets[i]);
            sockets[i] = dial(bed, node, x + i / OF_AN_ADDRESS, DIAL_MS);
            if (sockets[i] >= 0 && say) say(sockets[i], i, data);
        }
    return sockets;
}

bool flood_is_cut(int socket)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    CHECK(getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
    return info.tcpi_state != TCP_ESTABLISHED;
}

unsigned flood_descriptors(const struct testbed *bed, unsigned node)
{
    char path[64];
    struct stat st;
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)bed->pids[node]);
    if (stat(path, &st) == 0 && st.st_size > 0) return (unsigned)st.st_size; /* since Linux 6.2; of thousands, cheap */
    DIR *folder = opendir(path);
    if (!folder) testbed_fail(bed, "node %u has no %s", node, path);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count - 2; /* . and .. */
}

size_t flood_hello(const struct attacker *a, unsigned node, uint8_t out[static FLOOD_HELLO])
{
    struct tls_context *context;
    struct tls_session *tls;
    struct buffer hello = {0};
    CHECK(tls_context_new(&context, (struct bytes){0}, (struct bytes){0}, NULL) == OK);
    CHECK(tls_client_new(&tls, context, TLS_ALPN_CLIENT, &a->cluster.genesis.members[node - 1].tls_pin, NULL) == OK);
    tls_handshake(tls, &hello);
    CHECK(hello.size > 0 && hello.size <= FLOOD_HELLO);
    memcpy(out, hello.data, hello.size);
    size_t got = hello.size;
    buffer_free(&hello);
    tls_session_free(tls);
    tls_context_free(context);
    return got;
}

struct client *flood_small_reader(struct attacker *a, unsigned node)
{
    struct client *c = attacker_greet(a, node);
    int small = 4096;
    setsockopt(client_descriptor(c), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    return c;
}

void flood_questions(struct buffer *out, unsigned count)
{
    struct buffer body = {0};
    message_empty_encode(&body);
    for (unsigned i = 0; i < count; i++)
        CHECK(frame_append(out, MESSAGE_STATUS, i, buffer_bytes(&body)) == OK);
    buffer_free(&body);
}

/* Whether it goes: answered, or cut. */
static bool has_answer(int socket, struct flood_tally *tally)
{
    char first;
    ssize_t n = recv(socket, &first, 1, MSG_DONTWAIT);
    if (n > 0) atomic_fetch_add(&tally->answers, 1);
    return n >= 0 || (errno != EAGAIN && errno != EINTR);
}

_Noreturn void flood_shake_hands(const struct attacker *a, unsigned node, unsigned x, bool patient,
                                 struct flood_tally *tally)
{
    enum { COUNT = 200 };
    int sockets[COUNT];
    uint8_t hello[FLOOD_HELLO];
    struct flood_tally own = {0};
    size_t size = flood_hello(a, node, hello);
    if (!tally) tally = &own;
    for (unsigned i = 0; i < COUNT; i++)
        sockets[i] = -1;
    for (;;) {
        for (unsigned i = 0; i < COUNT; i++) {
            if (sockets[i] >= 0 || (sockets[i] = flood_dial(a->bed, node, x)) < 0) continue;
            (void)send(sockets[i], hello, size, MSG_NOSIGNAL);
            atomic_fetch_add(&tally->tries, 1);
        }
        usleep(50000);
        for (unsigned i = 0; i < COUNT; i++) {
            if (sockets[i] < 0 || (!has_answer(sockets[i], tally) && patient)) continue;
            close(sockets[i]);
            sockets[i] = -1;
            flood_give_way();
        }
    }
}

/* --- attackers --- */

static pid_t start(struct testbed *bed, void (*run)(void *data), void *data, int policy)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct sched_param none = {0};
    CHECK(sched_setscheduler(0, policy, &none) == 0);
    equal = policy == SCHED_OTHER;
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        bed->pids[i] = 0; /* not this process' to kill */
    run(data);
    _exit(0);
}

pid_t flood_start(struct testbed *bed, void (*run)(void *data), void *data)
{
    return start(bed, run, data, SCHED_IDLE);
}

pid_t flood_start_equal(struct testbed *bed, void (*run)(void *data), void *data)
{
    return start(bed, run, data, SCHED_OTHER);
}

void flood_give_way(void)
{
    if (!equal) (void)sched_yield();
}

int flood_stop(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}
