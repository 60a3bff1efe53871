package scenario

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Run is one run of a client: where the broker is, and names that nobody else uses.
type Run struct {
	Bootstrap string
	suffix    string
}

func (run Run) Topic(name string) string { return name + "-" + run.suffix }

// Topics are the names of the topics of all compressions.
func (run Run) Topics() []string {
	var names []string
	for _, compression := range Compressions {
		names = append(names, run.Topic(compression))
	}
	return names
}

// RestartBroker returns when the broker is there again, on the same port and data.
func (run Run) RestartBroker() error {
	address := os.Getenv("COMPAT_CONTROL")
	if address == "" {
		return Skipped("nobody is there to restart the broker (COMPAT_CONTROL is not set)")
	}
	control, err := net.DialTimeout("tcp", address, Deadline)
	if err != nil {
		return err
	}
	defer control.Close()
	if err := control.SetDeadline(time.Now().Add(2 * Deadline)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(control, "restart"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(control).ReadString('\n')
	if err != nil {
		return err
	}
	return Check(answer == "restarted\n", "the broker was not restarted, but %q", answer)
}

// SignIn is one way to sign in: its listener, and who.
type SignIn struct {
	Bootstrap string
	Mechanism string      // "" without SASL
	TLS       *tls.Config // nil without TLS
	User      string
	Password  string
}

// WaysToSignIn are TLS alone, SASL alone by each mechanism, and both together.
func (run Run) WaysToSignIn() ([]SignIn, error) {
	var ways []SignIn
	for _, one := range [][2]string{
		{"SSL", ""}, {"SASL_PLAINTEXT", "PLAIN"}, {"SASL_PLAINTEXT", "SCRAM-SHA-256"}, {"SASL_PLAINTEXT", "SCRAM-SHA-512"}, {"SASL_SSL", "PLAIN"},
	} {
		variable := "COMPAT_" + one[0]
		way := SignIn{os.Getenv(variable), one[1], nil, os.Getenv("COMPAT_USER"), os.Getenv("COMPAT_PASSWORD")}
		if way.Bootstrap == "" {
			return nil, Skipped(fmt.Sprintf("the broker has no secure listeners here (%s is not set)", variable))
		}
		if strings.Contains(one[0], "SSL") {
			authority, err := os.ReadFile(os.Getenv("COMPAT_CA"))
			if err != nil {
				return nil, err
			}
			trusted := x509.NewCertPool()
			if !trusted.AppendCertsFromPEM(authority) {
				return nil, errors.New("COMPAT_CA has no certificate")
			}
			way.TLS = &tls.Config{RootCAs: trusted}
		}
		ways = append(ways, way)
	}
	return ways, nil
}

// EachWayToSignIn writes and reads a record by each way; and a wrong password is refused as such.
func EachWayToSignIn(writeAndRead func(Run, SignIn) error, refusedAsSuch func(error) bool) func(Run) error {
	return func(run Run) error {
		ways, err := run.WaysToSignIn()
		if err != nil {
			return err
		}
		for _, way := range ways {
			if err := writeAndRead(run, way); err != nil {
				return fmt.Errorf("%s, %q: %w", way.Bootstrap, way.Mechanism, err)
			}
			if way.Mechanism == "" {
				continue
			}
			way.Password = "a wrong password"
			err := writeAndRead(run, way)
			if err == nil || !refusedAsSuch(err) {
				return fmt.Errorf("%s, %s: a wrong password ends with %w", way.Bootstrap, way.Mechanism, err)
			}
		}
		return nil
	}
}

func victim(client Client, bootstrap, topic, group string) {
	err := client.ConsumeUntil(Run{Bootstrap: bootstrap}, topic, group, func(count int) { fmt.Println(count) })
	fmt.Fprintln(os.Stderr, "ended:", err)
	os.Exit(1)
}

func killed(client Client, run Run) error {
	topic, group := run.Topic("lz4"), run.Topic("killed")
	command := exec.Command(os.Args[0], "--bootstrap", run.Bootstrap, topic, group)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	timer := time.AfterFunc(Deadline, func() { _ = command.Process.Kill() })
	line, _ := bufio.NewReader(output).ReadString('\n')
	timer.Stop()
	_ = command.Process.Kill()
	_ = command.Wait()
	before, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return fmt.Errorf("the first consumer did not get that far: %q", line)
	}
	count, err := client.CountTheRest(run, topic, group, Records-before)
	if err != nil {
		return err
	}
	return Check(count == Records-before, "%d records came after the resume instead of %d", count, Records-before)
}
