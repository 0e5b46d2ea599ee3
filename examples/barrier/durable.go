// Waits until everything that was committed before is on every copy, with nothing but Go's standard library:
//
//	go run durable.go ADDRESS
//
// ADDRESS is where the process that replicates the database listens: a unix socket's path, or HOST:PORT. In a
// program of yours, commit with the driver that you use, then call Durable before you tell anybody:
//
//	tx.Commit()
//	position, err := Durable(ctx, "/run/app/lockstep.sock")
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// NotDurable says why it is not known that every copy has it. It is committed: do not run the SQL again.
type NotDurable struct {
	Status int    `json:"-"`
	Code   string `json:"code"`
	What   string `json:"what"`
	State  string `json:"state"`
	Next   string `json:"next"`
}

func (e *NotDurable) Error() string {
	return fmt.Sprintf("%d %s: %s. %s. %s.", e.Status, e.Code, e.What, e.State, e.Next)
}

// Durable returns the position when everything committed before the call is on stable storage in every copy.
func Durable(ctx context.Context, address string) (string, error) {
	host := address
	transport := &http.Transport{DisableKeepAlives: true}
	if strings.Contains(address, "/") {
		host = "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/durable", nil)
	if err != nil {
		return "", err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	if response.StatusCode != http.StatusOK {
		reason := &NotDurable{Status: response.StatusCode}
		if err := decoder.Decode(reason); err != nil {
			return "", fmt.Errorf("status %d: %w", response.StatusCode, err)
		}
		return "", reason
	}
	var answer struct {
		Position string `json:"position"`
	}
	err = decoder.Decode(&answer)
	return answer.Position, err
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	position, err := Durable(ctx, os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(position)
}
