package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

func get(client *http.Client, url string) string {
	response, err := client.Post(url, "text/plain", strings.NewReader("body of "+url))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return string(body)
}

func main() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s from %s: %d bytes at %d", r.URL.Path, r.RemoteAddr, len(body), time.Now().UnixNano())
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	fmt.Println(plain.URL, secure.URL)
	var wait sync.WaitGroup
	lines := make(chan string, 64)
	for i := 0; i < 30; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			server := plain
			if i%5 == 0 {
				server = secure
			}
			lines <- get(server.Client(), fmt.Sprintf("%s/%d", server.URL, i))
		}()
	}
	wait.Wait()
	close(lines)
	for line := range lines {
		fmt.Println(line)
	}
	late, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	err := exec.CommandContext(late, "sleep", "5").Run()
	fmt.Println("sleep:", err)
	out, err := exec.Command("sh", "-c", "echo $$ $PPID; exit 3").CombinedOutput()
	fmt.Println(strings.TrimSpace(string(out)), err)
}
