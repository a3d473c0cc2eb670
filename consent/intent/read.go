package intent

import (
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/schemas/address"
)

// Read decides what the person of a message.received event wants, from what they wrote or
// tapped. The consent stage and `heed explain` both go through it.
func Read(data *schemas.Data, channel schemas.Channel) Decision {
	in := Input{ProviderAction: data.ProviderAction, Country: address.Region(data.User)}
	if c := data.Content; c != nil {
		in.Text, in.Postback = string(c.Text), c.Postback
		in.Suggestion = c.Type == schemas.ContentSuggestionReply || c.Type == schemas.ContentSuggestionAction
		if c.Type == schemas.ContentReaction {
			in.Text = ""
		}
	}
	d := Classify(in)
	if d.Action == None && channel == schemas.Email && data.Content != nil && data.Content.Subject != "" {
		// A mail program's unsubscribe link writes the word into the subject.
		if s := Classify(Input{Text: string(data.Content.Subject), Country: in.Country}); s.Action == Stop {
			return s
		}
	}
	return d
}
