package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// target is a parsed HEED_REDIS_URL: exactly one of its members is set.
type target struct {
	single   *redis.Options
	sentinel *redis.FailoverOptions
	cluster  *redis.ClusterOptions
}

var errForm = errors.New("want redis://HOST:PORT, rediss://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/?master=NAME or redis+cluster://HOST:PORT,HOST:PORT")

// parse reads the URL. Several hosts are more than net/url takes, so all but the first become
// addr= parameters, as the library's own parsers want them.
func parse(text string) (target, error) {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(text), "://")
	if !ok {
		return target{}, errForm
	}
	plain, form, _ := strings.Cut(scheme, "+")
	if plain != "redis" && plain != "rediss" {
		return target{}, errForm
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	login := ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		login, authority = authority[:i+1], authority[i+1:]
	}
	hosts := strings.Split(authority, ",")
	if authority == "" || form == "" && len(hosts) > 1 {
		return target{}, errForm
	}
	u, err := url.Parse(plain + "://" + login + hosts[0] + tail)
	if err != nil {
		return target{}, reason(err)
	}
	query := u.Query()
	query["addr"] = append(query["addr"], hosts[1:]...)
	if len(query["addr"]) == 0 {
		delete(query, "addr")
	}
	var t target
	switch form {
	case "":
		u.RawQuery = query.Encode()
		t.single, err = redis.ParseURL(u.String())
	case "sentinel":
		if query.Get("master") == "" {
			return target{}, errors.New("the sentinel form needs ?master=NAME")
		}
		query.Set("master_name", query.Get("master"))
		query.Del("master")
		// In our form the login before @ is the data nodes'; the sentinels' own, which differs,
		// is sentinel_user= and sentinel_password=. The library has it the other way round.
		sentinelUser, sentinelPassword := query.Get("sentinel_user"), query.Get("sentinel_password")
		query.Del("sentinel_user")
		query.Del("sentinel_password")
		user := u.User
		u.User, u.RawQuery = nil, query.Encode()
		if t.sentinel, err = redis.ParseFailoverURL(u.String()); err == nil {
			t.sentinel.SentinelUsername, t.sentinel.SentinelPassword = sentinelUser, sentinelPassword
			t.sentinel.Username = user.Username()
			t.sentinel.Password, _ = user.Password()
		}
	case "cluster":
		if path := strings.Trim(u.Path, "/"); path != "" && path != "0" {
			return target{}, errors.New("a Redis Cluster has only database 0")
		}
		u.RawQuery = query.Encode()
		t.cluster, err = redis.ParseClusterURL(u.String())
	default:
		return target{}, errForm
	}
	if err != nil {
		return target{}, reason(err)
	}
	return t, nil
}

// reason is what is wrong with a URL, without the URL.
func reason(err error) error {
	var parsing *url.Error
	if errors.As(err, &parsing) {
		err = parsing.Err
	}
	var escape url.EscapeError
	if errors.As(err, &escape) || strings.Contains(err.Error(), "userinfo") || strings.Contains(err.Error(), "invalid port") {
		return errors.New("not a valid URL (percent-encode special characters of the user and password)")
	}
	return fmt.Errorf("%w", err)
}

// open makes the client. Contexts bound every command (a check must deny in time), and the
// library's maintenance protocol of one vendor is off.
func (t target) open(introduce func(context.Context, *redis.Conn) error) redis.UniversalClient {
	off := func() *maintnotifications.Config {
		return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	}
	switch {
	case t.sentinel != nil:
		t.sentinel.OnConnect, t.sentinel.ContextTimeoutEnabled = introduce, true
		return redis.NewFailoverClient(t.sentinel)
	case t.cluster != nil:
		t.cluster.OnConnect, t.cluster.ContextTimeoutEnabled, t.cluster.MaintNotificationsConfig = introduce, true, off()
		return redis.NewClusterClient(t.cluster)
	default:
		t.single.OnConnect, t.single.ContextTimeoutEnabled, t.single.MaintNotificationsConfig = introduce, true, off()
		return redis.NewClient(t.single)
	}
}
