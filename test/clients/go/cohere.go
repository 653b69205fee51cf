// Drives Cohere's Go SDK. Each call prints one line and waits for one.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"

	cohere "github.com/cohere-ai/cohere-go/v2"
	"github.com/cohere-ai/cohere-go/v2/client"
	"github.com/cohere-ai/cohere-go/v2/option"
)

const module = "github.com/cohere-ai/cohere-go/v2"

type question struct {
	Model     string   `json:"model"`
	Query     string   `json:"query"`
	Documents []string `json:"documents"`
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return "cohere-go " + dependency.Version
		}
	}
	return "cohere-go"
}

func call(name string, want int, ask func() ([][2]float64, error)) {
	line := map[string]any{"version": version(), "call": name}
	if ranked, err := ask(); err != nil {
		line["error"] = err.Error()
	} else {
		line["ranked"], line["want"] = ranked, want
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

func main() {
	var asked question
	if err := json.Unmarshal([]byte(os.Getenv("WINNOW_QUESTION")), &asked); err != nil {
		panic(err)
	}
	sdk := client.NewClient(option.WithToken("any"), option.WithBaseURL(os.Getenv("WINNOW_URL")))
	call("Client.Rerank", 2, func() ([][2]float64, error) {
		documents := make([]*cohere.RerankRequestDocumentsItem, len(asked.Documents))
		for i, text := range asked.Documents {
			documents[i] = &cohere.RerankRequestDocumentsItem{String: text}
		}
		answer, err := sdk.Rerank(context.Background(), &cohere.RerankRequest{
			Model: cohere.String(asked.Model), Query: asked.Query, Documents: documents, TopN: cohere.Int(2),
		})
		if err != nil {
			return nil, err
		}
		var ranked [][2]float64
		for _, item := range answer.Results {
			ranked = append(ranked, [2]float64{float64(item.Index), item.RelevanceScore})
		}
		return ranked, nil
	})
	call("V2.Rerank", len(asked.Documents), func() ([][2]float64, error) {
		answer, err := sdk.V2.Rerank(context.Background(), &cohere.V2RerankRequest{
			Model: asked.Model, Query: asked.Query, Documents: asked.Documents,
		})
		if err != nil {
			return nil, err
		}
		var ranked [][2]float64
		for _, item := range answer.Results {
			ranked = append(ranked, [2]float64{float64(item.Index), item.RelevanceScore})
		}
		return ranked, nil
	})
}
