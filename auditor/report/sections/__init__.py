"""What a report says, topic by topic: each file takes a report and gives one section of the document."""
