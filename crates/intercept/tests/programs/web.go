// A web server and a client of Go, whose runtime asks the kernel by itself, without the C library.
//
//	web serve ADDRESS      serves the files of this directory
//	web fetch URL TIMES    fetches so many times at once and prints the SHA-256 of each answer
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		log.Fatal(http.ListenAndServe(os.Args[2], http.FileServer(http.Dir("."))))
	}
	if len(os.Args) != 4 || os.Args[1] != "fetch" {
		log.Fatal("web serve ADDRESS | web fetch URL TIMES")
	}
	times, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	var all sync.WaitGroup
	for i := 0; i < times; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			fetch(os.Args[2])
		}()
	}
	all.Wait()
}

func fetch(url string) {
	answer, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, answer.Body); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%x\n", sum.Sum(nil))
}
