package consent

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/heedhq/heed/consent/state"
	"github.com/heedhq/heed/schemas"
)

// directory knows which brand an agent speaks for.
type directory struct {
	brands map[agentKey]string
	agents map[string][]string // of a brand
}

type agentKey struct {
	channel schemas.Channel // "" is any
	agent   string
}

// readDirectory reads HEED_DIRECTORY_FILE; without a name it is empty.
func readDirectory(path string) (*directory, error) {
	if path == "" {
		return parseDirectory(nil)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("HEED_DIRECTORY_FILE: %w", err)
	}
	d, err := parseDirectory(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func parseDirectory(data []byte) (*directory, error) {
	d := &directory{brands: map[agentKey]string{}, agents: map[string][]string{}}
	var file schemas.DirectoryFile
	if err := yaml.UnmarshalWithOptions(data, &file, yaml.Strict()); err != nil && len(data) > 0 {
		return nil, errors.New(yaml.FormatError(err, false, false))
	}
	var wrong []error
	for i, b := range file.Brands {
		if b.ID == "" {
			wrong = append(wrong, fmt.Errorf("brands[%d]: id is missing", i))
		}
		for j, a := range b.Agents {
			where := fmt.Sprintf("brands[%d] %q, agents[%d]", i, b.ID, j)
			if a.ID == "" {
				wrong = append(wrong, fmt.Errorf("%s: id is missing", where))
			}
			if a.Channel != "" && !slices.Contains(schemas.Channels(), a.Channel) {
				wrong = append(wrong, fmt.Errorf("%s: channel: want one of %v, got %q", where, schemas.Channels(), a.Channel))
			}
			key := agentKey{a.Channel, state.Name(a.ID)}
			if other, ok := d.brands[key]; ok && other != b.ID {
				wrong = append(wrong, fmt.Errorf("%s: agent %q already speaks for %q", where, a.ID, other))
			}
			d.brands[key] = b.ID
			name := state.Name(b.ID)
			d.agents[name] = append(d.agents[name], a.ID)
		}
	}
	return d, errors.Join(wrong...)
}

// listed is the brand that the directory names for an agent.
func (d *directory) listed(channel schemas.Channel, agent string) (string, bool) {
	name := state.Name(agent)
	if b, ok := d.brands[agentKey{channel, name}]; ok {
		return b, true
	}
	b, ok := d.brands[agentKey{"", name}]
	return b, ok
}

// brand is the brand that an agent speaks for: the directory's, else the one that the event or
// the caller names, else the agent itself.
func (d *directory) brand(channel schemas.Channel, agent, named string) string {
	if b, ok := d.listed(channel, agent); ok {
		return b
	}
	if named != "" {
		return named
	}
	return agent
}
