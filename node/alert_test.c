/* `consiliumd alert-test`: whether alarms would reach people. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "node/alert.h"
#include "node/alert_send.h"

static bool say_refused(const struct alert_refused *refused)
{
    for (size_t i = 0; i < refused->count; i++)
        fprintf(stderr, "consiliumd: mail to %s: refused by the server: %s\n", refused->list[i].receiver,
                refused->list[i].answer);
    if (refused->count) fputs("What to do: " ALERT_REFUSED_HINT ".\n", stderr);
    return refused->count == 0;
}

static bool is_refused(const struct alert_refused *refused, const char *address, size_t size)
{
    for (size_t i = 0; i < refused->count; i++) {
        const char *receiver = refused->list[i].receiver;
        if (strlen(receiver) == size && memcmp(receiver, address, size) == 0) return true;
    }
    return false;
}

static void say_who_got_it(const struct config *config, const struct alert_refused *refused)
{
    for (const char *at = config->alert_mail_to.text; *at;) {
        size_t size = strcspn(at, ", ");
        if (size && !is_refused(refused, at, size)) printf("mail to %.*s: sent\n", (int)size, at);
        at += size;
        at += strspn(at, ", ");
    }
}

static bool try_way(enum alert_way way, const struct config *config, const struct alert_message *message)
{
    bool mail = way == ALERT_MAIL;
    struct alert_refused refused;
    struct failure failure = {0};
    unsigned sent;
    enum err e = alert_send(&sent, way, config, message, NULL, &refused, &failure);
    bool all = say_refused(&refused);
    if (e == OK && mail) say_who_got_it(config, &refused);
    if (e == OK && !mail) printf("webhook to %s: sent\n", config->alert_webhook.text);
    if (e == OK) return all;
    fprintf(stderr, "consiliumd: %s to %s: %s\n", mail ? "mail" : "webhook",
            mail ? config->alert_mail_to.text : config->alert_webhook.text, failure.text);
    if (alert_error_hint(e)[0]) fprintf(stderr, "What to do: %s.\n", alert_error_hint(e));
    return false;
}

int alert_test(const struct config *config, const struct genesis *genesis, unsigned self)
{
    struct alert_message message = {.genesis = genesis, .sender = self, .alarm.since_ms = clock_wall_ms()};
    unsigned ways = alert_ways(config);
    bool sent = true;
    if (!ways) {
        fputs("consiliumd: no way to tell people is set up.\n"
              "What to do: set alert-mail-server, alert-mail-from and alert-mail-to, or alert-webhook, in the node's "
              "consiliumd.conf (configs/consiliumd.conf explains them).\n", stderr);
        return 1;
    }
    for (unsigned way = ALERT_MAIL; way <= ALERT_HOOK; way <<= 1)
        if (ways & way) sent = try_way((enum alert_way)way, config, &message) && sent;
    return sent && fflush(stdout) == 0 ? 0 : 1;
}
