#include "tests/lib/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TABLE "consilium_test"

static bool write_line(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0) close(file);
    return ok;
}

/* Root may have a namespace; anybody may have one inside a user namespace, where the kernel allows these. */
static bool own_network(void)
{
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWNET) == 0) return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
    snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
    if (!write_line("/proc/self/setgroups", "deny") || !write_line("/proc/self/uid_map", map)) return false;
    snprintf(map, sizeof map, "0 %u 1", (unsigned)gid);
    return write_line("/proc/self/gid_map", map);
}

static bool loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = s >= 0 && ioctl(s, SIOCGIFFLAGS, &request) == 0;
    request.ifr_flags |= IFF_UP;
    ok = ok && ioctl(s, SIOCSIFFLAGS, &request) == 0;
    if (s >= 0) close(s);
    return ok;
}

/* Gives nft a script; it applies all of it at once, or nothing. */
static bool nft(const char *script)
{
    FILE *to = popen("PATH=\"$PATH:/usr/sbin:/sbin\" nft -f -", "w");
    if (!to) return false;
    fputs(script, to);
    return pclose(to) == 0;
}

bool partition_possible(void)
{
    const char *ci = getenv("CI"), *why = NULL;
    if (system("PATH=\"$PATH:/usr/sbin:/sbin\" command -v nft >/dev/null") != 0)
        why = "nftables is not installed";
    else if (!own_network() || !loopback_up())
        why = "no network namespace may be made here";
    else if (!nft("add table inet " TABLE "\n"))
        why = "nft may not be used here";
    if (!why) return true;
    printf("%s: %s\n", ci && *ci ? "FAILED" : "skipped", why);
    if (ci && *ci) exit(1);
    return false;
}

static void drop(FILE *to, const struct testbed *t, unsigned from, unsigned at, const char *what)
{
    char source[TESTBED_ADDRESS_SIZE], target[TESTBED_ADDRESS_SIZE];
    testbed_address(t, from, source);
    testbed_address(t, at, target);
    fprintf(to, "add rule inet " TABLE " in ip saddr %s ip daddr %s %s drop\n", source, target, what);
}

static void add_rules(FILE *to, const struct testbed *t, const struct partition *p)
{
    char what[64];
    for (unsigned a = 1; a <= t->n; a++)
        for (unsigned b = 1; b <= t->n; b++) {
            if (a == b) continue;
            if (p->drop[a][b]) drop(to, t, a, b, "");
            if (p->mute[a][b]) {
                snprintf(what, sizeof what, "tcp dport %u", (unsigned)t->ports[b]);
                drop(to, t, a, b, what);
                snprintf(what, sizeof what, "tcp sport %u", (unsigned)t->ports[b]);
                drop(to, t, b, a, what);
            }
            if (p->loss) {
                snprintf(what, sizeof what, "numgen random mod 100 < %u", p->loss);
                drop(to, t, a, b, what);
            }
        }
}

void partition_set(const struct testbed *t, const struct partition *p)
{
    char *script = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&script, &size);
    if (!to) testbed_fail(t, "no memory");
    /* Dropped where they arrive: a sender would be told of what is dropped where it leaves. */
    fputs("delete table inet " TABLE "\nadd table inet " TABLE "\n"
          "add chain inet " TABLE " in { type filter hook input priority 0; }\n", to);
    add_rules(to, t, p);
    fclose(to);
    if (!nft(script)) testbed_fail(t, "nft does not take:\n%s", script);
    free(script);
}

void partition_split(struct partition *p, const struct testbed *t, unsigned side)
{
    for (unsigned a = 1; a <= t->n; a++)
        for (unsigned b = 1; b <= t->n; b++)
            if (((side >> a) & 1) != ((side >> b) & 1)) p->drop[a][b] = true;
}

static bool tc(const char *script)
{
    FILE *to = popen("PATH=\"$PATH:/usr/sbin:/sbin\" tc -batch -", "w");
    if (!to) return false;
    fputs(script, to);
    return pclose(to) == 0;
}

/* Hierarchical token buckets (tc-htb(8)), one for each direction of each pair, which filters choose by address. */
bool partition_slow(const struct testbed *t, unsigned kbit)
{
    char source[TESTBED_ADDRESS_SIZE], target[TESTBED_ADDRESS_SIZE], *script = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&script, &size);
    if (!to) testbed_fail(t, "no memory");
    fputs("qdisc add dev lo root handle 1: htb default 0\n", to);
    for (unsigned a = 1; a <= t->n; a++)
        for (unsigned b = 1; b <= t->n; b++) {
            if (a == b) continue;
            testbed_address(t, a, source);
            testbed_address(t, b, target);
            fprintf(to, "class add dev lo parent 1: classid 1:%u htb rate %ukbit burst 16k\n", 16 * a + b, kbit);
            fprintf(to, "filter add dev lo parent 1: protocol ip u32 match ip src %s match ip dst %s flowid 1:%u\n",
                    source, target, 16 * a + b);
        }
    fclose(to);
    /* Packets as of a network, not as large as the loopback device's: it takes up to 64 KiB for one, whatever its MTU. */
    bool ok = system("PATH=\"$PATH:/usr/sbin:/sbin\" ip link set lo mtu 1500 gso_max_segs 1") == 0 && tc(script);
    if (!ok) printf("skipped: this machine can't make a link slow (tc-htb)\n");
    free(script);
    return ok;
}
