here
