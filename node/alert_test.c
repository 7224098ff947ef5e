/* `consiliumd alert-test`: whether alarms would reach people. */
#include <stdio.h>

#include "base/clock.h"
#include "node/alert.h"
#include "node/alert_send.h"

static bool try_way(enum alert_way way, const struct config *config, const struct alert_message *message)
{
    bool mail = way == ALERT_MAIL;
    const char *to = mail ? config->alert_mail_to.text : config->alert_webhook.text;
    struct failure failure = {0};
    unsigned sent;
    enum err e = alert_send(&sent, way, config, message, NULL, &failure);
    if (e == OK) {
        printf("%s to %s: sent\n", mail ? "mail" : "webhook", to);
        return true;
    }
    fprintf(stderr, "consiliumd: %s to %s: %s: %s\n", mail ? "mail" : "webhook", to, err_text(e), failure.text);
    if (err_hint(e)[0]) fprintf(stderr, "What to do: %s.\n", err_hint(e));
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
